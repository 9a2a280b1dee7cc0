{
  // The columns of the table: of every clip, of two systems side by side, or of prompts alone.

  const { headed, literal, number, signed } = evalkit.rows;

  const tone = (metric, value) => {
    const way = { "↑": 1, "↓": -1 }[metric.arrow] ?? 0;
    return value * way > 0 ? "good" : value * way < 0 ? "bad" : undefined;
  };

  const badge = ([status, reason, note]) => {
    const made = document.createElement("span");
    made.textContent = status || "no clip";
    if (status !== "ok") {
      made.className = "page-badge";
      made.dataset.tone = status ? "warn" : "none";
    }
    made.title = [reason, note].filter(Boolean).join("; ");
    return made;
  };

  const numeric = (metric, title, value, text, more) => ({
    title,
    width: 5.5,
    kind: "number",
    value,
    text: value,
    cell: (row) => text(value(row), metric.places),
    ...more,
  });

  const ofClips = (rows) => [
    rows.systems.length > 1 && {
      key: "system",
      title: "System",
      width: 13,
      kind: "system",
      value: (row) => rows.rank("system")[rows.part(row).system],
      cell: (row) => rows.systems[rows.part(row).system].name,
    },
    rows.samples > 1 && {
      key: "sample",
      title: "Clip",
      width: 5,
      kind: "number",
      value: (row) => rows.part(row).sample,
      text: (row) => rows.part(row).sample,
      cell: (row) => String(rows.part(row).sample),
    },
    ...rows.metrics.map((metric, i) =>
      numeric(metric, headed(metric), (row) => rows.value(rows.part(row), i, rows.prompt(row)), number, {
        key: `metric ${i}`,
        label: metric.title,
        width: metric.title.length > 16 ? 10.5 : 7.5,
      }),
    ),
  ];

  const ofPairs = (rows, [a, b]) =>
    rows.metrics.flatMap((metric, i) => {
      const [first, second, change] = [rows.mean(a, i), rows.mean(b, i), rows.difference(a, b, i)];
      const [one, other] = [rows.systems[a].name, rows.systems[b].name];
      return [
        numeric(metric, "A", (row) => first[row], number, { starts: true, named: one }),
        numeric(metric, "B", (row) => second[row], number, { named: other }),
        numeric(metric, "B − A", (row) => change[row], signed, {
          named: `${other} − ${one}`,
          tone: (row) => tone(metric, change[row]),
        }),
      ].map((column, k) => ({
        ...column,
        group: headed(metric),
        key: `pair ${i} ${k}`,
        label: metric.title,
        named: `${metric.title}: ${column.named}`,
      }));
    });

  // mode: "clips", "pair" or "prompts"; promptOf(row) is the prompt of a row, stateOf(row) what is wrong with it
  evalkit.rows.columns = (rows, { mode, pair, promptOf, stateOf }) =>
    [
      {
        key: "id",
        title: rows.titled ? "Id" : "File",
        width: rows.titled ? 9 : 0,
        kind: "id",
        value: (row) => rows.rank("id")[promptOf(row)],
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
      ...{ clips: () => ofClips(rows), pair: () => ofPairs(rows, pair), prompts: () => [] }[mode](),
      mode !== "prompts" && rows.troubled && {
        key: "state",
        title: "Status",
        width: 7,
        kind: "state",
        value: (row) => rows.rank("state")[rows.states.indexOf(stateOf(row))],
        text: (row) => stateOf(row)[0],
        cell: (row) => badge(stateOf(row)),
      },
    ].filter(Boolean);
}
