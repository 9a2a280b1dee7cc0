// The player of a prompt: it plays one of several clips, and goes on at the same position when another is chosen.
{
  const { element, icon, outline, shuffled, matching, decibels, factor, PLAY, PAUSE } = evalkit.parts;
  const SECOND = 1; // that an arrow key goes

  let sounds = null;
  let systems = null;
  let prompts = null;
  let playing = null; // the player that plays: there is one at most
  let used = null; // the player that keys are for

  const settings = { matched: true, looped: false };
  const players = new Set();

  function sound(key) {
    sounds ??= evalkit.data("sounds") ?? {};
    return sounds[key];
  }

  // The clips of a prompt, by its id: {name, role, key, sample}, systems in order and then the reference.
  evalkit.sources = (id) => {
    systems ??= evalkit.data("systems") ?? [];
    prompts ??= evalkit.data("prompt-sounds") ?? {};
    const found = Object.hasOwn(prompts, id) ? prompts[id] : [];
    const several = found.some(([, sample]) => sample > 1);
    return found.map(([system, sample, key]) => {
      const { name, role } =
        system === "reference" ? { name: "Reference", role: "reference" } : systems[system];
      return {
        name: several && system !== "reference" ? `${name}, sample ${sample}` : name,
        role,
        sample,
        key,
      };
    });
  };

  const clock = (value) => Math.max(0, value).toFixed(1);

  class Player {
    constructor(place, sources, { caption = "", columns = [] } = {}) {
      this.caption = caption;
      this.columns = columns;
      this.given = sources;
      this.sources = sources;
      this.selected = 0;
      this.at = 0; // seconds, while nothing plays
      this.voice = null; // what sounds
      this.turn = 0; // counts what was asked for last, so that what comes late is not obeyed
      this.root = element("div", "player");
      this.root.setAttribute("role", "group");
      this.root.tabIndex = -1;
      this.root.setAttribute("aria-label", caption ? `Player: ${caption}` : "Player");
      place.replaceChildren(this.root);
      this.build();
      players.add(this);
    }

    get playing() {
      return playing === this;
    }

    get seconds() {
      return Math.max(0, ...this.lanes.map((lane) => lane.voice?.seconds ?? 0));
    }

    get position() {
      return this.voice === null ? this.at : Math.min(this.voice.position, this.voice.seconds);
    }

    name(i) {
      return evalkit.blind() ? `Clip ${i + 1}` : this.sources[i].name;
    }

    // --- what is seen

    build() {
      const held = this.root.contains(document.activeElement)
        ? document.activeElement.dataset.control
        : undefined;
      if (evalkit.blind()) this.sources = shuffled(this.given, this.given.map((one) => one.key).join());
      const found = this.sources.map((source) => sound(source.key) ?? { reason: "there is no clip" });
      const gains = matching(found);
      this.lanes = this.sources.map((source, i) => ({
        source,
        sound: found[i],
        gain: gains[i],
        voice: evalkit.voice(found[i]),
      }));
      this.selected = Math.max(
        0,
        this.lanes.findIndex((lane) => lane.voice !== null),
      );
      this.scales = [false, true].map((matched) => {
        const heights = this.lanes.map(({ sound: { peaks = [] }, gain }) =>
          Math.max(0, ...peaks.flat()) * (matched && gain !== null ? factor(gain) : 1),
        );
        return 98 / Math.max(2, ...heights);
      });
      const list = element("ol", "player-lanes");
      list.setAttribute("role", "list");
      list.dataset.many = String(this.lanes.length > 4);
      list.dataset.columns = this.columns.length > 4 ? "many" : "few";
      list.style.setProperty("--player-columns", String(this.columns.length));
      if (this.columns.length) list.append(this.head());
      for (const [i, lane] of this.lanes.entries()) list.append(this.lane(lane, i));
      this.list = list;
      this.said = element("p", "page-unseen");
      this.said.setAttribute("role", "status");
      this.root.replaceChildren(this.bar(), list, this.said);
      this.paint();
      if (held) this.root.querySelector(`[data-control="${held}"]`)?.focus();
    }

    bar() {
      const bar = element("div", "player-bar");
      this.play_button = this.control("play", "player-play", () => this.toggle());
      this.slider = element("input", "player-seek");
      Object.assign(this.slider, { type: "range", min: 0, max: this.seconds, step: 0.01, value: 0 });
      this.slider.dataset.control = "seek";
      this.slider.setAttribute("aria-label", "Position");
      this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
      this.time = element("span", "player-time");
      this.time.setAttribute("aria-hidden", "true");
      this.match = this.control("match", "player-toggle", () => this.set("matched"));
      this.match.textContent = "Level matched";
      this.match.setAttribute("aria-keyshortcuts", "M");
      this.loop = this.control("loop", "player-toggle", () => this.set("looped"));
      this.loop.textContent = "Repeat";
      this.loop.setAttribute("aria-keyshortcuts", "L");
      this.play_button.disabled = this.lanes.every((lane) => lane.voice === null);
      bar.append(this.play_button, this.slider, this.time, this.match, this.loop);
      return bar;
    }

    control(name, className, action) {
      const button = element("button", className);
      button.type = "button";
      button.dataset.control = name;
      button.addEventListener("click", action);
      return button;
    }

    head() {
      const row = element("li", "player-head when-seen");
      row.setAttribute("aria-hidden", "true");
      const scores = element("div", "player-scores");
      for (const title of this.columns) scores.append(element("span", "player-title", title));
      row.append(element("span"), element("span"), scores);
      return row;
    }

    lane(lane, i) {
      const { source, sound: entry } = lane;
      const row = element("li", "player-lane");
      lane.row = row;
      const button = this.control(`source-${i}`, "player-source", () => {
        if (this.selected === i) this.toggle();
        else this.select(i);
      });
      if (i < 9) button.setAttribute("aria-keyshortcuts", String(i + 1));
      const key = element("kbd", "player-key", i < 9 ? String(i + 1) : "·");
      key.setAttribute("aria-hidden", "true");
      const name = element("span", "player-name");
      for (const part of this.name(i).split(/(?<=[_/-])/)) {
        name.append(part, document.createElement("wbr"));
      }
      const level = element("span", "player-level when-seen");
      lane.level = level;
      lane.button = button;
      button.append(key, name, level);
      button.disabled = lane.voice === null;
      row.append(button, lane.voice === null ? this.reason(entry.reason) : this.picture(lane, i));
      if (this.columns.length) row.append(this.scores(source.scores ?? []));
      return row;
    }

    reason(text) {
      return element("p", "player-reason", `Cannot be played: ${text}`);
    }

    picture(lane, i) {
      const { sound: entry } = lane;
      const frame = element("div", "player-picture");
      const inner = element("div", "player-drawn");
      const all = Math.max(...this.sources.map(({ key }) => sound(key)?.seconds ?? 0));
      if (entry.seconds && all) inner.style.width = `${(100 * entry.seconds) / all}%`;
      frame.setAttribute("role", "img");
      const link = entry.href ? "; plays from its own file" : "";
      frame.setAttribute(
        "aria-label",
        `Waveform${entry.picture ? " and spectrogram" : ""} of ${this.name(i)}: ${entry.said ?? "not drawn"}${link}`,
      );
      if (entry.peaks) {
        const { shape, path } = outline(entry.peaks);
        lane.path = path;
        inner.append(shape);
      }
      if (entry.picture) {
        const image = element("img", "player-spectrogram");
        image.alt = "";
        image.src = entry.picture;
        inner.append(image);
      }
      if (!entry.peaks) inner.append(element("span", "player-plain", "plays from its own file"));
      frame.append(inner, element("span", "player-playhead"));
      frame.addEventListener("click", (event) => {
        const box = frame.getBoundingClientRect();
        const to = ((event.clientX - box.left) / box.width) * this.seconds;
        this.at = this.position;
        if (this.selected !== i) this.select(i, to);
        else this.seek(to);
      });
      return frame;
    }

    scores(values) {
      const list = element("dl", "player-scores when-seen");
      for (const [i, title] of this.columns.entries()) {
        const pair = element("div");
        const { text = "–", why = "" } = values[i] ?? {};
        const value = element("dd", why ? "player-score player-why" : "player-score", values.length ? text : "");
        if (why) value.title = why;
        pair.append(element("dt", "player-title", title), value);
        if (!values.length) pair.hidden = true;
        list.append(pair);
      }
      return list;
    }

    paint() {
      for (const [i, lane] of this.lanes.entries()) {
        const on = i === this.selected && lane.voice !== null;
        lane.row.toggleAttribute("data-on", on);
        lane.button.setAttribute("aria-pressed", String(on));
        // drawn as it is heard
        const scale = this.scales[Number(settings.matched)] * this.level(lane);
        lane.path?.setAttribute("transform", `scale(1 ${scale.toFixed(3)})`);
        const level = lane.gain === null ? "not matched" : decibels(lane.gain);
        lane.level.textContent = [
          ...(lane.voice !== null && settings.matched ? [level] : []),
          ...(lane.sound.href ? ["linked"] : []),
        ].join(" · ");
      }
      this.root.toggleAttribute("data-playing", this.playing);
      this.play_button.replaceChildren(icon(this.playing ? PAUSE : PLAY));
      this.play_button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
      this.match.setAttribute("aria-pressed", String(settings.matched));
      this.match.hidden = this.lanes.every((lane) => lane.gain === null);
      this.loop.setAttribute("aria-pressed", String(settings.looped));
      this.tick();
    }

    tick() {
      const [at, all] = [this.position, this.seconds];
      this.list.style.setProperty("--player-at", all ? String(at / all) : "0");
      this.slider.max = String(all);
      this.slider.value = String(at);
      this.slider.setAttribute("aria-valuetext", `${clock(at)} of ${clock(all)} seconds`);
      this.time.textContent = `${clock(at)} / ${clock(all)} s`;
    }

    say(text) {
      this.said.textContent = text;
    }

    // --- what is heard

    level(lane) {
      return settings.matched && lane.gain !== null ? factor(lane.gain) : 1;
    }

    toggle() {
      if (this.playing) this.pause();
      else this.play();
    }

    play() {
      if (playing !== null && playing !== this) playing.pause();
      const { voice } = this.lanes[this.selected];
      if (voice === null) return;
      if (this.at >= voice.seconds - 0.02 && voice.seconds) this.at = 0;
      playing = this;
      used = this;
      const from = this.at;
      this.sound(() => from, null);
      this.say(`Playing ${this.name(this.selected)}`);
      this.paint();
    }

    pause() {
      this.turn += 1;
      this.at = this.position;
      this.silence();
      if (playing === this) playing = null;
      this.say("Paused");
      this.paint();
    }

    // let the chosen clip sound where `place` says; `before` sounds until then
    async sound(place, before) {
      const turn = ++this.turn;
      const lane = this.lanes[this.selected];
      try {
        lane.voice.prepare();
        await lane.voice.load();
        if (turn === this.turn && before !== lane.voice) {
          await lane.voice.start(place, this.level(lane), before !== null);
        }
      } catch (error) {
        if (turn === this.turn) this.fail(lane, error);
        return;
      }
      if (turn !== this.turn) {
        const wanted = this.playing && this.lanes[this.selected].voice === lane.voice;
        if (!wanted && this.voice !== lane.voice) lane.voice.stop();
        return;
      }
      if (before !== null && before !== lane.voice) before.rest();
      this.voice = lane.voice;
      lane.row.querySelector(".player-reason")?.remove(); // of an earlier try
      this.follow(turn);
      // so that the others are there at once; linked ones are not read before they are played
      for (const other of this.lanes) {
        if (other.sound.base64) other.voice.load().catch(() => {});
      }
    }

    silence() {
      for (const lane of this.lanes) lane.voice?.stop();
      this.voice = null;
    }

    fail(lane, error) {
      this.at = this.position;
      this.silence();
      if (playing === this) playing = null;
      lane.row.querySelector(".player-reason")?.remove();
      lane.row.append(this.reason(error.message));
      this.say(`${this.name(this.selected)} cannot be played: ${error.message}`);
      this.paint();
    }

    // move the playhead until something else is asked for or the clip ends
    follow(turn) {
      const step = () => {
        if (turn !== this.turn) return;
        if (this.root.getClientRects().length === 0) {
          if (this.root.isConnected) this.pause(); // what it is in was closed
          else this.destroy();
          return;
        }
        const { voice } = this;
        if (voice.seconds && voice.position >= voice.seconds - 0.005) {
          this.silence();
          this.at = 0;
          if (settings.looped) {
            this.play();
          } else {
            this.turn += 1;
            playing = null;
            this.say("Ended");
            this.paint();
          }
          return;
        }
        this.tick();
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    }

    select(i, to) {
      const lane = this.lanes[i];
      if (lane === undefined || lane.voice === null) return;
      used = this;
      const before = this.voice;
      const beyond = lane.voice.seconds && (to ?? this.position) >= lane.voice.seconds;
      this.selected = i;
      if (this.playing) {
        const from = beyond ? 0 : to;
        this.sound(
          from === undefined && before !== null ? () => before.position : () => from ?? this.at,
          before,
        );
      } else {
        this.at = beyond ? 0 : (to ?? this.at);
      }
      this.say(`${this.playing ? "Playing" : "Chosen:"} ${this.name(i)}`);
      this.paint();
    }

    seek(to) {
      used = this;
      const at = Math.min(Math.max(0, to), Math.max(0, this.seconds - 0.01));
      if (this.playing) {
        this.silence();
        this.at = at;
        this.sound(() => at, null);
      }
      this.at = at;
      this.tick();
    }

    set(name) {
      settings[name] = !settings[name];
      const lane = this.lanes[this.selected];
      if (playing !== null) playing.voice?.level(playing.level(playing.lanes[playing.selected]));
      for (const player of players) player.paint();
      if (name === "looped") this.say(settings.looped ? "Repeats" : "Plays once");
      else this.say(settings.matched && lane.gain !== null ? "Levels matched" : "Levels as they are");
    }

    destroy() {
      if (this.playing) this.pause();
      players.delete(this);
      if (used === this) used = null;
    }

    // --- keys

    key(event) {
      const number = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : null;
      if (number !== null) this.select(number);
      else if (event.key === "ArrowLeft") this.seek(this.position - SECOND);
      else if (event.key === "ArrowRight") this.seek(this.position + SECOND);
      else if (event.key === " ") this.toggle();
      else if (event.key === "m" || event.key === "M") this.set("matched");
      else if (event.key === "l" || event.key === "L") this.set("looped");
      else return false;
      return true;
    }
  }

  // A player in an element. `sources` are {name, key} and, where there are columns, `scores`: {text, why} of each;
  // options are the prompt's caption, and the titles of columns.
  evalkit.player = (place, sources, options) => {
    for (const player of players) if (!player.root.isConnected || place.contains(player.root)) player.destroy();
    return new Player(place, sources, options);
  };

  // Keys are for the player that has the focus; while one plays and nothing has the focus, for that one.
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    const player =
      [...players].find((one) => one.root.contains(target)) ??
      (target === document.body ? used : null);
    if (!player?.root.isConnected) return;
    if (target.closest("input:not([type=range]), select, textarea, [contenteditable]")) return;
    if (event.key === " " && target.closest("button, summary, a")) return; // they have a use of their own for it
    if (player.key(event)) event.preventDefault();
  });

  document.addEventListener("evalkit:blind", () => {
    playing?.pause();
    for (const player of players) {
      if (player.root.isConnected) player.build();
      else player.destroy();
    }
  });
}
