// What players are made of: elements and drawings, an order that tells nothing, and equal levels.
{
  const CEILING = -1; // dB: no clip is raised above this peak

  function element(tag, className, ...inside) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    made.append(...inside);
    return made;
  }

  function drawn(tag, attributes, parent) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    parent?.append(made);
    return made;
  }

  function icon(path) {
    const made = drawn("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "player-icon" });
    drawn("path", { d: path }, made);
    return made;
  }

  const PLAY = "M7 4.5v15l13-7.5z";
  const PAUSE = "M6 4.5h4.5v15H6zM13.5 4.5H18v15h-4.5z";

  // the left channel above the line, the right one below it
  function outline(peaks) {
    const [left, right] = [peaks[0], peaks[peaks.length - 1]];
    const shape = drawn("svg", {
      viewBox: `0 -100 ${Math.max(1, left.length)} 200`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
      class: "player-outline",
    });
    const above = left.map((value, i) => `L${i} ${-value}H${i + 1}`);
    const below = right.map((value, i) => `L${i + 1} ${value}H${i}`);
    const path = drawn("path", { d: `M0 0${above.join("")}${below.reverse().join("")}Z` }, shape);
    drawn("rect", { x: 0, y: -1, width: Math.max(1, left.length), height: 2 }, shape);
    return { shape, path };
  }

  // the same order for the same prompt, which tells nothing of who is who
  function shuffled(items, text) {
    let state = 2166136261;
    for (const letter of text) state = Math.imul(state ^ letter.codePointAt(0), 16777619);
    const next = () => {
      state = (state + 0x6d2b79f5) | 0;
      let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
    const found = [...items];
    for (let i = found.length - 1; i > 0; i -= 1) {
      const j = Math.floor(next() * (i + 1));
      [found[i], found[j]] = [found[j], found[i]];
    }
    return found;
  }

  // By how many dB each clip is changed so that all are equally loud: as loud as the median of them, or as loud as is
  // possible without raising one above full scale. Null for a clip that is not matched.
  function matching(found) {
    const levels = found.map((one) => one?.lufs ?? null);
    const known = levels.filter((value) => value !== null).sort((a, b) => a - b);
    if (known.length < 2) return levels.map(() => null);
    const room = found.map((one) => {
      if (one?.lufs === undefined || one.lufs === null) return Infinity;
      // elements have no level above 1
      return one.lufs + ("base64" in one ? Math.max(0, CEILING - (one.peak_db ?? 0)) : 0);
    });
    const target = Math.min(known[Math.floor((known.length - 1) / 2)], ...room);
    return levels.map((value) => (value === null ? null : target - value));
  }

  const decibels = (value) =>
    `${Math.abs(value) < 0.05 ? "±" : value > 0 ? "+" : "−"}${Math.abs(value).toFixed(1)} dB`;
  const factor = (value) => 10 ** (value / 20);

  evalkit.parts = { element, icon, outline, shuffled, matching, decibels, factor, PLAY, PAUSE };
}
