"""A model's limits, as its card would state them, each measured: what a record has to say of them, and with how much
certainty. One file for each limit; `found.limits` gathers those that a record has what they need for."""
