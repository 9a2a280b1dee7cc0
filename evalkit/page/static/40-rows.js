{
  // All clips as columns of numbers: what is sorted, filtered and searched. Nothing here touches the document.

  const NONE = "–";
  const COLLATOR = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  // a number of decimals as Python writes it: exact halves go to the even digit, and there is no negative zero
  const fixed = (value, places) => {
    const size = Math.abs(value);
    let text = size.toFixed(places);
    if ((size * 2 ** (places + 1)) % 2 === 1) {
      const lower = Math.floor(size * 10 ** places);
      text = ((lower % 2 ? lower + 1 : lower) / 10 ** places).toFixed(places);
    }
    const [whole, part] = text.split(".");
    return whole.replace(/\B(?=(\d{3})+$)/gu, ",") + (part === undefined ? "" : `.${part}`);
  };

  // numbers with what stands before those that are shown as zero, and before those above it
  const written = (zero, above) => (value, places) => {
    if (Number.isNaN(value)) {
      return NONE;
    }
    const text = Number.isFinite(value) ? fixed(value, places) : "inf";
    return (/^[0.,]*$/u.test(text) ? zero : value < 0 ? "-" : above) + text;
  };

  const number = written("", "");
  const signed = written("±", "+");

  // a metric as the head of a column
  const headed = (metric) => `${metric.title} ${metric.arrow}`.trim();

  // base64 of 64-bit floats, in the order of bytes of every machine that browsers run on
  const floats = (text) => new Float64Array(evalkit.bytes(text));

  // what a search compares: neither case nor marks above letters matter
  const folded = (text) =>
    // oxlint-disable-next-line no-control-regex
    (/^[\u0000-\u007f]*$/u.test(text) ? text : text.normalize("NFKD").replace(/\p{M}/gu, ""))
      .toLowerCase();

  // characters that would act instead of show, such as those that turn the direction of text, as escapes
  const literal = (text) =>
    text.replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, (letter) => {
      if (letter === "\u200c" || letter === "\u200d") {
        return letter;
      }
      const code = letter.codePointAt(0).toString(16);
      return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
    });

  // the order of texts, as numbers: sorted once
  const ranks = (texts) => {
    const order = texts.map((_, i) => i).sort((a, b) => COLLATOR.compare(texts[a], texts[b]) || a - b);
    const found = new Float64Array(texts.length);
    let rank = -1;
    order.forEach((i, place) => {
      rank += place === 0 || texts[i] !== texts[order[place - 1]] ? 1 : 0;
      found[i] = rank;
    });
    return found;
  };

  class Rows {
    constructor(data) {
      this.ids = data.ids;
      this.captions = data.captions;
      this.given = data.given; // null, or of each prompt [language, translation, numbers of systems]
      this.tags = data.tags;
      this.labels = data.labels;
      this.groups = data.groups;
      this.systems = data.systems;
      this.metrics = data.metrics;
      this.states = data.states;
      this.size = data.ids.length;
      this.numbers = new Map(data.ids.map((id, i) => [id, i]));
      this.parts = data.parts.map((part) => ({
        ...part,
        values: part.values.map((text) => text && floats(text)),
      }));
      this.samples = Math.max(1, ...this.parts.map((part) => part.sample));
      this.titled = data.captions.some((caption) => caption !== "");
      this.bad = data.states.map(([status]) => status !== "" && status !== "ok");
      const found = new Set(this.parts.flatMap((part) => part.states));
      this.troubled = [...found].some((state) => this.bad[state]); // whether any clip is not usable
      this.ranked = new Map();
      this.means = new Map();
      this.texts = [];
    }

    // rows of every clip are numbered part by part: row = part × prompts + prompt
    prompt(row) {
      return row % this.size;
    }

    part(row) {
      return this.parts[Math.floor(row / this.size)];
    }

    state(part, prompt) {
      return typeof part.states === "number" ? part.states : part.states[prompt];
    }

    reference(part, prompt) {
      return typeof part.references === "number" ? part.references : part.references[prompt];
    }

    value(part, metric, prompt) {
      const column = part.values[metric];
      return column === null ? Number.NaN : column[prompt];
    }

    partsOf(system) {
      return this.parts.filter((part) => part.system === system);
    }

    // a system's values of a metric: the mean over its clips of a prompt
    mean(system, metric) {
      const key = `${system} ${metric}`;
      if (!this.means.has(key)) {
        const columns = this.partsOf(system).map((part) => part.values[metric]).filter(Boolean);
        const found = new Float64Array(this.size).fill(Number.NaN);
        for (let i = 0; i < this.size; i += 1) {
          let [sum, count] = [0, 0];
          for (const column of columns) {
            if (!Number.isNaN(column[i])) {
              sum += column[i];
              count += 1;
            }
          }
          found[i] = count ? sum / count : Number.NaN;
        }
        this.means.set(key, found);
      }
      return this.means.get(key);
    }

    difference(a, b, metric) {
      const key = `${a} ${b} ${metric}`;
      if (!this.means.has(key)) {
        const [first, second] = [this.mean(a, metric), this.mean(b, metric)];
        this.means.set(key, second.map((value, i) => value - first[i]));
      }
      return this.means.get(key);
    }

    // the order of what is written, by "id", "caption", "system" or "state"
    rank(what) {
      if (!this.ranked.has(what)) {
        const texts = {
          id: this.ids,
          caption: this.captions,
          system: this.systems.map((system) => system.name),
          state: this.states.map((state) => state.join(" ")),
        }[what];
        this.ranked.set(what, ranks(texts));
      }
      return this.ranked.get(what);
    }

    text(prompt) {
      let text = this.texts[prompt];
      if (text === undefined) {
        const words = [this.tags, this.labels].flatMap((kind) =>
          kind.of[prompt].map((word) => kind.names[word]),
        );
        const given = (this.given?.[prompt] ?? []).map(([, translation]) => translation);
        text = folded([this.ids[prompt], this.captions[prompt], ...given, ...words].join("\n"));
        this.texts[prompt] = text;
      }
      return text;
    }

    // which prompts have all words of a search, and are of a tag, a label and a group; each may be undefined
    matching({ search = "", tag, label, group }) {
      const found = new Uint8Array(this.size).fill(1);
      const words = [...folded(search).matchAll(/["“”]([^"“”]+)["“”]?|([^\s"“”]+)/gu)].map(
        ([, exact, word]) => exact ?? word,
      );
      const inside = group === undefined ? null : new Set(this.groups[group].prompts);
      for (let i = 0; i < this.size; i += 1) {
        if (
          (inside !== null && !inside.has(i)) ||
          (tag !== undefined && !this.tags.of[i].includes(tag)) ||
          (label !== undefined && !this.labels.of[i].includes(label)) ||
          (words.length > 0 && !words.every((word) => this.text(i).includes(word)))
        ) {
          found[i] = 0;
        }
      }
      return found;
    }

    // every row of a way to show them: all clips of some systems, or each prompt once
    every(systems) {
      if (systems === null) {
        return Uint32Array.from(this.ids, (_, i) => i);
      }
      const rows = [];
      this.parts.forEach((part, k) => {
        if (systems.has(part.system)) {
          for (let i = 0; i < this.size; i += 1) {
            if (this.state(part, i) > 0) {
              rows.push(k * this.size + i);
            }
          }
        }
      });
      return Uint32Array.from(rows);
    }

    // rows by a number of each, those without one last in both directions; equal ones stay in their order
    sorted(rows, key, descending) {
      const keys = new Float64Array(rows.length);
      const places = new Uint32Array(rows.length);
      rows.forEach((row, i) => {
        keys[i] = key(row);
        places[i] = i;
      });
      const way = descending ? -1 : 1;
      places.sort((i, j) => {
        const [a, b] = [keys[i], keys[j]];
        if (Number.isNaN(a) || Number.isNaN(b)) {
          return Number.isNaN(a) - Number.isNaN(b) || i - j;
        }
        return a === b ? i - j : a < b ? -way : way;
      });
      return places.map((i) => rows[i]);
    }
  }

  // a table as CSV; text that a spreadsheet would run as a formula gets a leading apostrophe
  const csv = (lines) => {
    const field = (value) => {
      if (typeof value === "number") {
        return Number.isNaN(value) ? "" : String(value);
      }
      const shown = /^[=+\-@\t\r]/u.test(value) ? `'${value}` : value;
      return /[",\n\r]/u.test(shown) ? `"${shown.replaceAll('"', '""')}"` : shown;
    };
    return lines.map((line) => `${line.map(field).join(",")}\n`).join("");
  };

  evalkit.rows = { Rows, csv, headed, literal, number, signed };
}
