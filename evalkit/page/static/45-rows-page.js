{
  // The section "All clips": its controls, its columns, and addresses of prompts.

  const { Detail, Rows, Table, csv, literal, option } = evalkit.rows;
  const NARROW = matchMedia("(max-width: 46rem)");
  const ADDRESS = "#prompt=";

  const find = (name) => document.getElementById(`rows-${name}`);

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
    let mode = "prompts";
    let pair = [0, 0];
    const promptOf = (row) => (mode === "clips" ? rows.prompt(row) : row);
    const address = (prompt, whole = false) =>
      (whole ? location.href.split("#")[0] : "") + ADDRESS + encodeURIComponent(rows.ids[prompt]);

    // of a row that stands for several clips, what is wrong with the first that is not usable
    const stateOf = (row) => {
      if (mode === "clips") {
        return rows.states[rows.state(rows.part(row), rows.prompt(row))];
      }
      const parts = pair.flatMap((system) => rows.partsOf(system));
      const states = parts.map((part) => rows.state(part, row));
      return rows.states[states.find((state) => rows.bad[state]) ?? Math.max(0, ...states)];
    };

    const makeColumns = () => {
      columns = evalkit.rows.columns(rows, { mode, pair, promptOf, stateOf });
      if (!columns.some((column) => column.key === sorted.key)) {
        Object.assign(sorted, { key: "", descending: false });
      }
      table.withColumns(columns);
      const inDataSet = option("", "data set order");
      const others = columns.map((column) =>
        option(column.key, column.group ? `${column.group}: ${column.title}` : column.title),
      );
      control.sort.replaceChildren(inDataSet, ...others);
    };

    // rows

    const chosen = (name) => (control[name].value === "" ? undefined : Number(control[name].value));

    const systems = () => {
      if (mode !== "clips") {
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
      const key = [mode, control.system.value, ...pair, sorted.key, sorted.descending].join(" ");
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
      if (mode !== "prompts" && control.state.value !== "") {
        const [kind, ...words] = control.state.value.split(" ");
        const status = words.join(" ");
        const wanted = (state) => (status === "" ? state !== "ok" && state !== "" : state === status);
        const of = kind === "clip" ? "state" : "reference";
        const has = (part, prompt) => wanted(rows.states[rows[of](part, prompt)][0]);
        const sides = pair.flatMap((system) => rows.partsOf(system));
        tests.push(
          mode === "clips"
            ? (row) => has(rows.part(row), rows.prompt(row))
            : (row) => sides.some((part) => has(part, row)),
        );
      }
      if (mode === "pair" && control.change.value !== "") {
        const [metric, way] = control.change.value.split(" ").map(Number);
        const change = rows.difference(...pair, metric);
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
      const noun = mode === "clips" ? "clip" : "prompt";
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
      const own = (rows.systems.length > 1) + Math.ceil((rows.metrics.length + (rows.samples > 1)) / 2);
      const lines = { clips: own, pair: rows.metrics.length, prompts: 0 }[mode];
      return Math.round(((rows.titled ? 3 : 1) + lines) * 1.625 * rem + rem + 1);
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
      find("region").closest("section").scrollIntoView({ behavior: "instant" });
      if (prompt === undefined) {
        find("detail").close(); // which would stand before the notice
        find("unknown").textContent = `There is no prompt “${literal(id)}” on this page.`;
        find("unknown").hidden = false;
        return;
      }
      show(prompt, true);
    };

    // controls

    const fit = () => {
      mode = evalkit.blind() ? "prompts" : control.mode.value;
      pair = [Number(control.a.value), Number(control.b.value)];
      const shown = { mode: rows.systems.length > 1, system: mode === "clips" && rows.systems.length > 1 };
      for (const name of ["a", "b", "change"]) {
        shown[name] = mode === "pair" && (name !== "change" || rows.metrics.length > 0);
      }
      for (const [name, is] of Object.entries(shown)) {
        document.querySelector(`[data-rows-for="${name}"]`).hidden = !is;
      }
      find("table").dataset.mode = mode;
      const [a, b] = pair.map((system) => rows.systems[system]?.name ?? "");
      find("legend").textContent = `A: ${a}. B: ${b}. Of each metric: A, B, and B − A.`;
      makeColumns();
      sort(sorted.key, sorted.descending);
    };

    const download = () => {
      const extra = columns.filter((column) => !["id", "caption"].includes(column.key));
      const given = (prompt, which) => rows.given[prompt].map((one) => one[which]).join("; ");
      const told = rows.given ? ["language", "translation"] : [];
      const lines = [
        ["id", "caption", ...told, "tags", "labels", ...extra.map((column) => column.named ?? column.label ?? column.title)],
      ];
      for (const row of table.rows) {
        const prompt = promptOf(row);
        const list = (kind) => kind.of[prompt].map((word) => kind.names[word]).join("; ");
        lines.push([
          literal(rows.ids[prompt]),
          rows.captions[prompt],
          ...told.map((_, which) => given(prompt, which)),
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

    evalkit.rows.fillControls(rows, control, data);
    document.getElementById("rows").hidden = false;
    fit();
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
    find("more").addEventListener("click", () => {
      find("more").setAttribute("aria-expanded", find("more").getAttribute("aria-expanded") === "false");
    });
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
