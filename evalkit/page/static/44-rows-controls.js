{
  // What can be chosen in the controls above the table.

  const MOST = 300; // tags or labels that can be chosen: more are found by search

  const written = (size) => size.toLocaleString("en");

  const option = (value, text) => {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    return made;
  };

  const words = (kind, title) => {
    const sizes = new Uint32Array(kind.names.length);
    for (const some of kind.of) {
      for (const word of some) {
        sizes[word] += 1;
      }
    }
    const options = kind.names.slice(0, MOST).map((name, i) => option(i, `${name} (${written(sizes[i])})`));
    if (kind.names.length <= MOST) {
      return options;
    }
    const group = document.createElement("optgroup");
    group.label = `The ${MOST} most frequent of ${written(kind.names.length)} ${title}: search finds all`;
    group.append(...options);
    return [group];
  };

  // by each status how many clips, and references, are so; nothing where all are usable
  const states = (rows) => {
    const sizes = new Map();
    for (const [kind, column] of [["clip", "state"], ["reference", "reference"]]) {
      const counts = new Uint32Array(rows.states.length);
      for (const part of rows.parts) {
        for (let i = 0; i < rows.size; i += 1) {
          counts[rows[column](part, i)] += 1;
        }
      }
      rows.states.forEach(([status], i) => {
        if (status && counts[i] > 0) {
          const key = `${kind} ${status}`;
          sizes.set(key, (sizes.get(key) ?? 0) + counts[i]);
        }
      });
    }
    sizes.delete("reference ok");
    const bad = [...sizes.keys()].some((key) => key.startsWith("clip ") && key !== "clip ok");
    const titled = (key) => key.replace(/^clip /u, "").replace(/^reference /u, "reference: ");
    const options = [...sizes].map(([key, size]) => option(key, `${titled(key)} (${written(size)})`));
    return options.length < 2 ? [] : [...(bad ? [option("clip ", "any but ok")] : []), ...options];
  };

  const changes = (rows) =>
    rows.metrics.flatMap((metric, i) => {
      const [more, less] = metric.arrow ? ["better", "worse"] : ["higher", "lower"];
      const up = metric.arrow === "↓" ? -1 : 1;
      return [
        option(`${i} ${-up}`, `${metric.title}: B ${less}`),
        option(`${i} ${up}`, `${metric.title}: B ${more}`),
        option(`${i} 0`, `${metric.title}: the same`),
      ];
    });

  const title = ({ name, role }) => (role === "model" || name.endsWith(`(${role})`) ? name : `${name} (${role})`);

  // control: the elements by name; data: what the section left
  evalkit.rows.fillControls = (rows, control, data) => {
    const fill = (name, first, options) => {
      control[name].replaceChildren(option("", first), ...options);
      document.querySelector(`[data-rows-for="${name}"]`).hidden = options.length === 0;
    };
    const systems = () => rows.systems.map((system, i) => option(i, title(system)));
    const several = rows.systems.length > 1;
    fill("tag", "any", words(rows.tags, "tags"));
    fill("label", "any", words(rows.labels, "labels"));
    fill(
      "group",
      "any",
      rows.groups.map(({ kind, name, prompts }, i) => option(i, `${kind}: ${name} (${written(prompts.length)})`)),
    );
    fill("state", "any", states(rows));
    fill("change", "any", changes(rows));
    fill("system", "all", several ? systems() : []);
    if (data.first === "models") {
      control.system.options[0].after(option("models", "all but calibration rows"));
      control.system.value = "models";
    }
    control.a.replaceChildren(...systems());
    control.b.replaceChildren(...systems());
    [control.a.value, control.b.value] = data.pair ?? [0, several ? 1 : 0];
    control.mode.value = data.pair ? "pair" : "clips";
  };

  evalkit.rows.option = option;
}
