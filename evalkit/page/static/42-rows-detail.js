{
  // What is known of one prompt, in a dialog at the side of the table.

  const { element: make } = evalkit.parts;
  const { headed, literal, number } = evalkit.rows;

  const button = (text, title, act) => {
    const made = make("button", "", text);
    made.type = "button";
    made.title = title;
    made.addEventListener("click", act);
    return made;
  };

  const heading = (scope, className, text) => {
    const made = make("th", className, text);
    made.scope = scope;
    return made;
  };

  class Detail {
    // neighbour(step): the prompt that stands before or after the open one in the table, or null
    constructor({ dialog, rows, address, neighbour, go, closed }) {
      Object.assign(this, { dialog, rows, address, neighbour, go });
      this.prompt = null;
      const said = make("p", "rows-detail-said page-quiet");
      said.setAttribute("role", "status");
      this.said = said;
      this.place = make("span", "rows-detail-place page-quiet");
      const word = (text) => make("span", "rows-word", text);
      this.previous = button("← ", "The prompt before it in the table (key p)", () => this.step(-1));
      this.previous.append(word("Previous"));
      this.next = button("", "The prompt after it in the table (key n)", () => this.step(1));
      this.next.append(word("Next"), " →");
      const copy = button("Copy link", "Copy the address of this prompt", () => this.copy());
      const close = button("Close", "Close (key Escape)", () => dialog.close());
      close.className = "rows-detail-close";
      const tools = make("div", "rows-detail-tools page-tools", this.previous, this.place, this.next, copy, close);
      this.body = make("div", "rows-detail-body");
      this.body.tabIndex = 0;
      this.body.setAttribute("role", "region");
      this.body.setAttribute("aria-labelledby", "rows-detail-title");
      dialog.setAttribute("aria-labelledby", "rows-detail-title");
      dialog.append(tools, said, this.body);
      dialog.addEventListener("close", () => {
        this.prompt = null;
        this.body.replaceChildren(); // and whatever plays falls silent
        closed();
      });
      dialog.addEventListener("click", (event) => {
        if (event.target === dialog) {
          dialog.close(); // beside it
        }
      });
      dialog.addEventListener("keydown", (event) => {
        const typing = event.target.closest("input, select, textarea") !== null;
        const step = { n: 1, p: -1 }[event.key];
        if (step && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
          this.step(step);
        } else if (!typing && !event.defaultPrevented && this.plays(event)) {
          event.preventDefault();
        }
      });
      document.addEventListener("evalkit:blind", () => {
        if (this.prompt !== null) {
          this.show(this.prompt);
        }
      });
    }

    // the player's keys are for it wherever in the dialog the focus is, but for buttons that use them themselves
    plays(event) {
      const { player } = this;
      const own = event.key === " " && event.target.closest("button, a, summary") !== null;
      const inside = player?.root?.contains(event.target) ?? true;
      return !inside && !own && !event.ctrlKey && !event.metaKey && !event.altKey && player.key(event);
    }

    step(way) {
      const to = this.neighbour(way);
      if (to !== null) {
        this.go(to);
      }
    }

    show(prompt) {
      const { rows } = this;
      this.prompt = prompt;
      this.said.replaceChildren();
      this.previous.disabled = this.neighbour(-1) === null;
      this.next.disabled = this.neighbour(1) === null;
      this.place.textContent = this.neighbour(0) ?? "";
      const id = literal(rows.ids[prompt]);
      const title = make("h2", "", rows.captions[prompt] || id);
      title.id = "rows-detail-title";
      title.tabIndex = -1;
      const about = make("p", "rows-detail-id page-quiet", rows.captions[prompt] ? make("code", "", id) : "");
      const player = make("div", "rows-detail-player");
      this.body.replaceChildren(
        title,
        about,
        ...this.given(prompt),
        ...this.words("Tags", rows.tags, prompt),
        ...this.words("Labels", rows.labels, prompt),
        player,
        this.scores(prompt),
        ...this.remarks(prompt),
      );
      this.body.scrollTop = 0;
      if (!this.dialog.open) {
        this.dialog.showModal();
        title.focus();
      }
      this.play(player, prompt);
    }

    play(element, prompt) {
      this.player = null;
      const sources = evalkit.sources(this.rows.ids[prompt]);
      if (sources.length) {
        this.player = evalkit.player(element, sources, { caption: this.rows.captions[prompt] || literal(this.rows.ids[prompt]) });
      } else {
        element.append(make("p", "page-quiet", "None of its clips is in this page or beside it."));
      }
    }

    // what models were given in place of the caption
    given(prompt) {
      const { rows } = this;
      const systems = new Set(rows.parts.map((part) => part.system).filter((system) => rows.systems[system].role !== "calibration"));
      return (rows.given?.[prompt] ?? []).map(([language, translation, given]) => {
        const text = make("q", "", translation);
        if (language) {
          text.lang = language;
        }
        const line = make("p", "rows-detail-given", `Given in ${language || "translation"}: `, text);
        const names = [...new Set(given.map((system) => rows.systems[system].name))];
        if (names.length < systems.size) {
          line.append(make("small", "page-quiet when-seen", `to ${names.join(", ")}`));
        }
        return line;
      });
    }

    words(title, kind, prompt) {
      const names = kind.of[prompt].map((word) => kind.names[word]);
      if (names.length === 0) {
        return [];
      }
      const list = make("ul", "rows-words", ...names.map((name) => make("li", "", name)));
      list.setAttribute("aria-label", title);
      return [list];
    }

    // of every clip its values and status
    scores(prompt) {
      const { rows } = this;
      const parts = rows.parts.filter((part) => rows.state(part, prompt) > 0);
      const head = make("tr", "", heading("col", "", "System"));
      for (const metric of rows.metrics) {
        head.append(heading("col", "page-number", headed(metric)));
      }
      head.append(heading("col", "", "Status"));
      const body = document.createElement("tbody");
      for (const part of parts) {
        const { name, role } = rows.systems[part.system];
        const title = make("span", "", name);
        const more = [role === "model" ? "" : role, rows.samples > 1 ? `clip ${part.sample}` : ""].filter(Boolean);
        const row = make("tr", "", heading("row", "", title));
        if (more.length > 0) {
          row.firstChild.append(make("small", "page-quiet", more.join(", ")));
        }
        rows.metrics.forEach((metric, i) => {
          row.append(make("td", "page-number", number(rows.value(part, i, prompt), metric.places)));
        });
        const [status, reason, note] = rows.states[rows.state(part, prompt)];
        const badge = make("span", status === "ok" ? "" : "page-badge", status);
        if (status !== "ok") {
          badge.dataset.tone = "warn";
        }
        row.append(make("td", "", badge));
        const said = [reason, note].filter(Boolean).join("; ");
        if (said) {
          row.lastChild.append(make("small", "page-quiet", said));
        }
        body.append(row);
      }
      const table = make("table", "", document.createElement("thead"), body);
      table.tHead.append(head);
      const around = make("div", "page-scroll when-seen", table);
      around.tabIndex = 0;
      around.setAttribute("role", "region");
      around.setAttribute("aria-label", "Values and status of its clips");
      return around;
    }

    // what is wrong with its reference, said once where it is the same of all clips
    remarks(prompt) {
      const { rows } = this;
      const found = new Map();
      for (const part of rows.parts) {
        const [status, reason, note] = rows.states[rows.reference(part, prompt)];
        if (status && (status !== "ok" || note)) {
          const text = `Reference: ${[status, reason, note].filter(Boolean).join("; ")}`;
          found.set(text, [...(found.get(text) ?? []), rows.systems[part.system].name]);
        }
      }
      return [...found].map(([text, names]) => {
        const of = found.size > 1 ? ` (${[...new Set(names)].join(", ")})` : "";
        return make("p", "page-quiet when-seen", `${text}${of}.`);
      });
    }

    async copy() {
      const address = this.address(this.prompt, true);
      try {
        await navigator.clipboard.writeText(address);
        this.said.textContent = "The link is copied.";
      } catch {
        const field = document.createElement("input"); // where pages may not write to the clipboard
        field.readOnly = true;
        field.value = address;
        field.setAttribute("aria-label", "Link to this prompt");
        this.said.replaceChildren(field);
        field.select();
      }
    }
  }

  evalkit.rows.Detail = Detail;
}
