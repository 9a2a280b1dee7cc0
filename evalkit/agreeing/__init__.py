"""How metrics agree with what people said of the same systems, whoever asked them."""
