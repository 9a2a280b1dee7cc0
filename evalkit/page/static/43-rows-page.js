{
  // The section "All clips": its controls, its columns, and addresses of prompts.

  const { Detail, Rows, Table, csv, literal, number, signed } = evalkit.rows;
  const MOST = 300; // tags or labels that can be chosen: more are found by search
  const NARROW = matchMedia("(max-width: 46rem)");
  const ADDRESS = "#prompt=";

  const find = (name) => document.getElementById(`rows-${name}`);
  const blind = () => "blind" in document.body.dataset;

  const option = (value, text) => {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    return made;
  };

  const start = () => {
    const data = evalkit.data("prompts");
    if (data === null) {
      return;
    }
    const rows = new Rows(data);
    const counted = (size, noun) => `${size.toLocaleString("en")} ${noun}${size === 1 ? "" : "s"}`;
    const sorted = { key: "", descending: false };
    const control = Object.fromEntries(
      ["search", "mode", "system", "a", "b", "change", "tag", "label", "group", "state", "sort"].map((name) => [
        name,
        find(name),
      ]),
    );
    let columns = [];
    let order = { key: null, rows: null };
    let later = 0;

    // what rows are: clips, prompts with the values of two systems, or prompts alone
    const mode = () => (blind() ? "prompts" : control.mode.value);
    const pair = () => [Number(control.a.value), Number(control.b.value)];
    const promptOf = (row) => (mode() === "clips" ? rows.prompt(row) : row);
    const address = (prompt, whole = false) =>
      (whole ? location.href.split("#")[0] : "") + ADDRESS + encodeURIComponent(rows.ids[prompt]);

    // columns

    const tone = (metric, value) => {
      const way = { "↑": 1, "↓": -1 }[metric.arrow] ?? 0;
      return value * way > 0 ? "good" : value * way < 0 ? "bad" : undefined;
    };

    const stateOf = (row) => {
      if (mode() === "clips") {
        return rows.states[rows.state(rows.part(row), rows.prompt(row))];
      }
      const parts = pair().flatMap((system) => rows.partsOf(system));
      const states = parts.map((part) => rows.state(part, row));
      return rows.states[states.find((state) => state > 1) ?? Math.max(0, ...states)];
    };

    const badge = (row) => {
      const made = document.createElement("span");
      const [status, reason, note] = stateOf(row);
      made.textContent = status || "no clip";
      if (status !== "ok") {
        made.className = "page-badge";
        made.dataset.tone = status ? "warn" : "none";
      }
      made.title = [reason, note].filter(Boolean).join("; ");
      return made;
    };

    const numeric = (metric, title, value, text, more = {}) => ({
      title,
      width: 6.5,
      kind: "number",
      value,
      text: value,
      cell: (row) => text(value(row), metric.places),
      ...more,
    });

    const clipColumns = () => {
      const several = rows.systems.length > 1;
      return [
        several && {
          key: "system",
          title: "System",
          width: 11,
          kind: "system",
          value: (row) => rows.rank("system")[rows.part(row).system],
          cell: (row) => rows.systems[rows.part(row).system].name,
        },
        rows.samples > 1 && {
          key: "sample",
          title: "Clip",
          width: 4.5,
          kind: "number",
          value: (row) => rows.part(row).sample,
          text: (row) => rows.part(row).sample,
          cell: (row) => String(rows.part(row).sample),
        },
        ...rows.metrics.map((metric, i) =>
          numeric(metric, `${metric.title} ${metric.arrow}`.trim(), (row) => rows.value(rows.part(row), i, rows.prompt(row)), number, {
            key: `metric ${i}`,
            label: metric.title,
            width: Math.max(6.5, 1.5 + metric.title.length * 0.55),
          }),
        ),
      ].filter(Boolean);
    };

    const pairColumns = () =>
      rows.metrics.flatMap((metric, i) => {
        const [a, b] = pair();
        const group = `${metric.title} ${metric.arrow}`.trim();
        const [first, second, change] = [rows.mean(a, i), rows.mean(b, i), rows.difference(a, b, i)];
        return [
          numeric(metric, "A", (row) => first[row], number, { starts: true }),
          numeric(metric, "B", (row) => second[row], number),
          numeric(metric, "B − A", (row) => change[row], signed, { tone: (row) => tone(metric, change[row]) }),
        ].map((column, k) => ({ ...column, group, key: `pair ${i} ${k}`, label: `${metric.title} ${column.title}` }));
      });

    const makeColumns = () => {
      const now = mode();
      columns = [
        {
          key: "id",
          title: rows.titled ? "Id" : "File",
          width: rows.titled ? 9 : 0,
          kind: "id",
          value: (row) => rows.rank("id")[promptOf(row)],
          text: (row) => literal(rows.ids[promptOf(row)]),
          cell: (row) => literal(rows.ids[promptOf(row)]),
        },
        rows.titled && {
          key: "caption",
          title: "Caption",
          width: 0,
          kind: "caption",
          value: (row) => rows.rank("caption")[promptOf(row)],
          cell: (row) => rows.captions[promptOf(row)],
        },
        ...(now === "clips" ? clipColumns() : now === "pair" ? pairColumns() : []),
        now !== "prompts" && {
          key: "state",
          title: "Status",
          width: 7,
          kind: "state",
          value: (row) => rows.rank("state")[rows.states.indexOf(stateOf(row))],
          text: (row) => stateOf(row)[0],
          cell: badge,
        },
      ].filter(Boolean);
      if (!columns.some((column) => column.key === sorted.key)) {
        Object.assign(sorted, { key: "", descending: false });
      }
      table.withColumns(columns, sorted);
      const inDataSet = option("", "order of the data set");
      const others = columns.map((column) =>
        option(column.key, column.group ? `${column.group}: ${column.title}` : column.title),
      );
      control.sort.replaceChildren(inDataSet, ...others);
      control.sort.value = sorted.key;
    };

    // rows

    const chosen = (name) => (control[name].value === "" ? undefined : Number(control[name].value));

    const systems = () => {
      if (mode() !== "clips") {
        return null;
      }
      const all = rows.systems.map((_, i) => i);
      const one = control.system.value;
      if (one === "models") {
        return new Set(all.filter((i) => rows.systems[i].role !== "calibration"));
      }
      return new Set(one === "" ? all : [Number(one)]);
    };

    const inOrder = () => {
      const key = [mode(), control.system.value, ...pair(), sorted.key, sorted.descending].join(" ");
      if (order.key !== key) {
        const every = rows.every(systems());
        const column = columns.find((one) => one.key === sorted.key);
        order = { key, rows: column ? rows.sorted(every, column.value, sorted.descending) : every };
      }
      return order.rows;
    };

    // whether a row is of a status, and changed as it is asked; names and numbers are not, while they are hidden
    const fits = () => {
      const tests = [];
      if (mode() !== "prompts" && control.state.value !== "") {
        const [kind, ...words] = control.state.value.split(" ");
        const status = words.join(" ");
        const wanted = (state) => (status === "" ? state !== "ok" && state !== "" : state === status);
        const of = kind === "clip" ? "state" : "reference";
        const has = (part, prompt) => wanted(rows.states[rows[of](part, prompt)][0]);
        const sides = pair().flatMap((system) => rows.partsOf(system));
        tests.push(
          mode() === "clips"
            ? (row) => has(rows.part(row), rows.prompt(row))
            : (row) => sides.some((part) => has(part, row)),
        );
      }
      if (mode() === "pair" && control.change.value !== "") {
        const [metric, way] = control.change.value.split(" ").map(Number);
        const change = rows.difference(...pair(), metric);
        tests.push((row) => (way === 0 ? change[row] === 0 : change[row] * way > 0));
      }
      return tests;
    };

    const filtered = ["search", "tag", "label", "group", "state", "change"];

    const update = () => {
      const found = rows.matching({
        search: control.search.value,
        tag: chosen("tag"),
        label: chosen("label"),
        group: chosen("group"),
      });
      const tests = fits();
      const every = inOrder();
      const shown = every.filter((row) => found[promptOf(row)] === 1 && tests.every((test) => test(row)));
      table.show(shown);
      const noun = mode() === "clips" ? "clip" : "prompt";
      const text =
        shown.length === every.length
          ? counted(every.length, noun)
          : `${shown.length.toLocaleString("en")} of ${counted(every.length, noun)}`;
      const active = filtered.some((name) => control[name].value !== "");
      find("clear").hidden = !active;
      find("none").hidden = shown.length > 0;
      clearTimeout(later); // said when nobody types any more
      find("count").dataset.text = text;
      later = setTimeout(() => {
        find("count").textContent = text;
      }, 250);
    };

    const sort = (key, descending) => {
      if (descending === undefined) {
        // up, down, and back to the order of the data set
        const again = sorted.key === key;
        Object.assign(sorted, again && sorted.descending ? { key: "", descending: false } : { key, descending: again });
      } else {
        Object.assign(sorted, { key, descending });
      }
      control.sort.value = sorted.key;
      find("way").textContent = sorted.descending ? "Descending" : "Ascending";
      find("way").disabled = sorted.key === "";
      table.markSorted(sorted);
      update();
    };

    const clear = () => {
      for (const name of filtered) {
        control[name].value = "";
      }
      update();
      control.search.focus();
    };

    // the table and the detail

    let open = null; // the open prompt
    const heights = () => {
      const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
      if (!NARROW.matches) {
        return Math.round(3.25 * rem);
      }
      const lines = { clips: 1 + Math.ceil(rows.metrics.length / 2), pair: rows.metrics.length, prompts: 0 }[mode()];
      return Math.round(((rows.titled ? 6.25 : 3) + lines * 1.625) * rem);
    };
    const table = new Table({
      region: find("region"),
      table: find("table"),
      heights,
      address: (row) => address(promptOf(row)),
      opened: (row) => open !== null && promptOf(row) === open,
      sort: (key) => sort(key),
    });
    table.opens = (at) => show(promptOf(table.rows[at]));
    table.printed = (some, all) => {
      find("printed").textContent = some < all ? `The first ${some} of ${counted(all, "row")} are printed.` : "";
    };

    // where the open prompt stands among the rows: that of the active row first, as a prompt may have several
    const place = () => {
      if (table.rows.length > 0 && promptOf(table.rows[table.active]) === open) {
        return table.active;
      }
      return table.rows.findIndex((row) => promptOf(row) === open);
    };

    const neighbour = (step) => {
      const at = place();
      if (step === 0) {
        return at < 0 ? null : `${(at + 1).toLocaleString("en")} of ${table.rows.length.toLocaleString("en")}`;
      }
      if (at < 0) {
        return null;
      }
      let next = at + step;
      while (next >= 0 && next < table.rows.length && promptOf(table.rows[next]) === open) {
        next += step;
      }
      return next >= 0 && next < table.rows.length ? next : null;
    };

    const show = (prompt, middle = false) => {
      open = prompt;
      find("unknown").hidden = true;
      const at = place();
      if (at >= 0) {
        table.reveal(at, middle);
        table.activate(at);
      }
      table.mark();
      history.replaceState(null, "", address(prompt));
      detail.show(prompt);
    };

    const detail = new Detail({
      dialog: find("detail"),
      rows,
      address,
      neighbour,
      go: (at) => {
        table.reveal(at);
        table.activate(at);
        show(promptOf(table.rows[at]));
      },
      closed: () => {
        open = null;
        history.replaceState(null, "", location.href.split("#")[0]);
        table.mark();
        if (table.rows.length > 0) {
          table.focus(table.active);
        }
      },
    });

    const follow = () => {
      if (!location.hash.startsWith(ADDRESS)) {
        return;
      }
      let id = location.hash.slice(ADDRESS.length);
      try {
        id = decodeURIComponent(id);
      } catch {
        // it stays as it is, and is not known
      }
      const prompt = rows.numbers.get(id);
      find("region").closest("section").scrollIntoView();
      if (prompt === undefined) {
        find("unknown").textContent = `There is no prompt “${literal(id)}” on this page.`;
        find("unknown").hidden = false;
        return;
      }
      show(prompt, true);
    };

    // controls

    const fill = (name, first, options) => {
      control[name].replaceChildren(option("", first), ...options);
      document.querySelector(`[data-rows-for="${name}"]`).hidden = options.length === 0;
    };
    const words = (kind, kinds) => {
      const sizes = new Uint32Array(kind.names.length);
      for (const some of kind.of) {
        for (const word of some) {
          sizes[word] += 1;
        }
      }
      const more = kind.names.length > MOST ? `any (${MOST} of ${kind.names.length.toLocaleString("en")} ${kinds} here)` : "any";
      return [more, kind.names.slice(0, MOST).map((name, i) => option(i, `${name} (${sizes[i].toLocaleString("en")})`))];
    };
    const of = (prompts) => `(${prompts.length.toLocaleString("en")})`;
    const roleOf = ({ name, role }) => (role === "model" || name.endsWith(`(${role})`) ? name : `${name} (${role})`);

    const fillStates = () => {
      const sizes = new Map();
      const add = (kind, column) => {
        for (const part of rows.parts) {
          for (let i = 0; i < rows.size; i += 1) {
            const [status] = rows.states[rows[column](part, i)];
            if (status) {
              sizes.set(`${kind} ${status}`, (sizes.get(`${kind} ${status}`) ?? 0) + 1);
            }
          }
        }
      };
      add("clip", "state");
      add("reference", "reference");
      const found = [...sizes].filter(([key]) => key !== "reference ok");
      const bad = found.some(([key]) => key.startsWith("clip ") && key !== "clip ok");
      fill(
        "state",
        "any",
        found.length > 1 ? [
          ...(bad ? [option("clip ", "any but ok")] : []),
          ...found.map(([key, size]) =>
            option(key, `${key.replace(/^clip /u, "").replace(/^reference /u, "reference: ")} (${size.toLocaleString("en")})`),
          ),
        ] : [],
      );
    };

    const fillAll = () => {
      const titles = rows.systems.map(roleOf);
      const several = titles.length > 1;
      fill("tag", ...words(rows.tags, "tags"));
      fill("label", ...words(rows.labels, "labels"));
      fill("group", "any", rows.groups.map((group, i) => option(i, `${group.kind}: ${group.name} ${of(group.prompts)}`)));
      fill("system", "all", several ? titles.map((title, i) => option(i, title)) : []);
      if (data.first === "models") {
        control.system.options[0].after(option("models", "all but calibration rows"));
        control.system.value = "models";
      }
      for (const name of ["a", "b"]) {
        control[name].replaceChildren(...titles.map((title, i) => option(i, title)));
      }
      const [a, b] = data.pair ?? [0, several ? 1 : 0];
      control.a.value = a;
      control.b.value = b;
      control.mode.value = data.pair ? "pair" : "clips";
      const ways = (metric) => (metric.arrow ? ["better", "worse"] : ["higher", "lower"]);
      fill(
        "change",
        "any",
        rows.metrics.flatMap((metric, i) => {
          const [more, less] = ways(metric);
          const up = metric.arrow === "↓" ? -1 : 1;
          return [
            option(`${i} ${-up}`, `${metric.title}: B ${less}`),
            option(`${i} ${up}`, `${metric.title}: B ${more}`),
            option(`${i} 0`, `${metric.title}: the same`),
          ];
        }),
      );
      fillStates();
    };

    const fit = () => {
      const now = mode();
      const shown = { mode: rows.systems.length > 1, system: now === "clips" && rows.systems.length > 1 };
      for (const name of ["a", "b", "change"]) {
        shown[name] = now === "pair" && (name !== "change" || rows.metrics.length > 0);
      }
      for (const [name, is] of Object.entries(shown)) {
        document.querySelector(`[data-rows-for="${name}"]`).hidden = !is;
      }
      find("table").dataset.mode = now;
      makeColumns();
      update();
    };

    const download = () => {
      const lines = [["id", "caption", "tags", "labels"]];
      const extra = columns.filter((column) => !["id", "caption"].includes(column.key));
      const [a, b] = pair().map((system) => rows.systems[system]?.name ?? "");
      const names = { A: a, B: b, "B − A": `${b} − ${a}` };
      lines[0].push(...extra.map((column) => (column.group ? `${rows.metrics[Number(column.key.split(" ")[1])].title}: ${names[column.title]}` : column.label ?? column.title)));
      for (const row of table.rows) {
        const prompt = promptOf(row);
        const list = (kind) => kind.of[prompt].map((word) => kind.names[word]).join("; ");
        lines.push([
          literal(rows.ids[prompt]),
          rows.captions[prompt],
          list(rows.tags),
          list(rows.labels),
          ...extra.map((column) => (column.text ?? column.cell)(row)),
        ]);
      }
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv(lines)], { type: "text/csv" }));
      link.download = "clips.csv";
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    };

    fillAll();
    find("rows")?.removeAttribute("hidden");
    document.getElementById("rows").hidden = false;
    fit();
    sort("", false);
    find("count").textContent = find("count").dataset.text;
    control.search.addEventListener("input", update);
    for (const name of ["system", "tag", "label", "group", "state", "change"]) {
      control[name].addEventListener("change", update);
    }
    for (const name of ["mode", "a", "b"]) {
      control[name].addEventListener("change", fit);
    }
    control.sort.addEventListener("change", () => sort(control.sort.value, sorted.descending));
    find("way").addEventListener("click", () => sort(sorted.key, !sorted.descending));
    find("clear").addEventListener("click", clear);
    find("again").addEventListener("click", clear);
    find("csv").addEventListener("click", download);
    NARROW.addEventListener("change", () => table.show(table.rows));
    document.addEventListener("evalkit:blind", () => {
      // an order, or a filter, may tell who made a clip
      for (const name of ["state", "change"]) {
        control[name].value = "";
      }
      Object.assign(sorted, { key: "", descending: false });
      fit();
      sort("", false);
    });
    window.addEventListener("hashchange", follow);
    document.getElementById("rows").dataset.ready = "";
    follow();

    // what a search compares is made while nobody waits
    let next = 0;
    const prepare = () => {
      const until = performance.now() + 8;
      while (next < rows.size && performance.now() < until) {
        rows.text(next);
        next += 1;
      }
      if (next < rows.size) {
        setTimeout(prepare, 30);
      }
    };
    setTimeout(prepare, 200);
  };

  // the page is drawn first
  if (location.hash.startsWith(ADDRESS) || !("requestIdleCallback" in window)) {
    setTimeout(start, 0);
  } else {
    requestIdleCallback(start, { timeout: 500 });
  }
}
