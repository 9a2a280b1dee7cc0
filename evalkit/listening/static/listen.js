"use strict";
{
  const data = JSON.parse(document.getElementById("listen-data").textContent);
  const { words, pages, practice } = data;
  const pairs = data.method === "pairs";
  const [lowest, highest] = data.scale;
  const key = `evalkit:${data.study}:${data.session}`;
  const served = location.protocol.startsWith("http");
  const main = document.getElementById("listen-main");
  const letter = (index) => String.fromCharCode(65 + index);
  const MOST_EVENTS = 20000;
  const SKIPPED = 0.25; // seconds between two looks at a playing clip, of which a jump is no listening

  // what a rater has done, kept in the browser: a page that is opened again goes on from there
  const fresh = () => ({
    at: 0, started: "", ended: "", finished: false, rater: "", headphones: null, comment: "",
    answers: {}, heard: {}, plays: {}, page_seconds: {}, events: [],
  });
  let keeps = true;
  const state = restored();

  function restored() {
    try {
      const found = JSON.parse(localStorage.getItem(key));
      return found && Array.isArray(found.events) ? { ...fresh(), ...found } : fresh();
    } catch {
      keeps = false;
      return fresh();
    }
  }

  function keep() {
    try {
      localStorage.setItem(key, JSON.stringify(state));
    } catch {
      keeps = false;
    }
  }

  function log(what, of) {
    if (!state.started || state.events.length >= MOST_EVENTS) return;
    const seconds = (Date.now() - Date.parse(state.started)) / 1000;
    state.events.push([Math.max(0, Math.round(seconds * 100) / 100), what, of]);
  }

  function made(tag, properties = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (value === false || value === null || value === undefined) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "value") element.value = value;
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  // steps: the welcome, the volume, practice, all pages, the end
  const BEFORE = 3;
  const steps = BEFORE + pages.length + 1;
  const pageOf = (step) => (step === BEFORE - 1 ? practice : pages[step - BEFORE]);
  const numberOf = (step) => (step === BEFORE - 1 ? "practice" : step - BEFORE);
  const asked = (step) => step >= BEFORE - 1 && step < steps - 1;

  // sound

  let players = [];

  function address(item) {
    const text = atob(document.getElementById(`sound-${item}`).textContent);
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    return URL.createObjectURL(new Blob([bytes], { type: "audio/mpeg" }));
  }

  // a button that plays a clip, how far it is, and whether all of it was heard
  function player(item, name, of, changed) {
    const heardKey = `${of}:${item}`;
    const whole = () => (state.heard[heardKey] || 0) >= data.heard;
    const audio = new Audio();
    audio.preload = "auto";
    const bar = made("div");
    const heard = made("span", { class: "listen-heard" });
    const button = made("button", { type: "button", "aria-pressed": "false", onclick: toggle }, `Play ${name}`);
    const element = made("div", { class: "listen-player" }, button,
      made("div", { class: "listen-track", "aria-hidden": "true" }, bar), heard);
    let last = null;
    const parts = [];

    function share() {
      const seconds = audio.duration;
      if (!(seconds > 0)) return 0;
      parts.sort((a, b) => a[0] - b[0]);
      let covered = 0;
      let until = 0;
      for (const [from, to] of parts) {
        covered += Math.max(0, to - Math.max(from, until));
        until = Math.max(until, to);
      }
      return Math.min(1, covered / seconds);
    }

    function look() {
      const now = audio.currentTime;
      if (last !== null && now > last) {
        const latest = parts[parts.length - 1];
        if (latest && Math.abs(latest[1] - last) < SKIPPED) latest[1] = Math.max(latest[1], now);
        else parts.push([last, now]);
      }
      last = audio.paused ? null : now;
      const before = state.heard[heardKey] || 0;
      const share_ = Math.max(before, share());
      if (share_ > before) state.heard[heardKey] = Math.round(share_ * 1000) / 1000;
      refresh();
      if (before < data.heard && share_ >= data.heard) {
        keep();
        changed();
      }
    }

    function refresh() {
      const playing = !audio.paused;
      button.setAttribute("aria-pressed", String(playing));
      button.firstChild.textContent = `${playing ? "Pause" : "Play"} ${name}`;
      bar.style.width = `${audio.duration > 0 ? (100 * audio.currentTime) / audio.duration : 0}%`;
      const done = whole();
      heard.toggleAttribute("data-done", done);
      heard.textContent = done ? "✓ heard" : playing ? "playing" : "not heard yet";
    }

    function toggle() {
      if (!audio.paused) {
        audio.pause();
        return;
      }
      for (const other of players) if (other.audio !== audio) other.audio.pause();
      if (!audio.src) audio.src = address(item);
      if (audio.ended) audio.currentTime = 0;
      audio.play().catch((error) => {
        if (error.name !== "AbortError") heard.textContent = `cannot be played here (${error.name}): try another browser`;
      });
    }

    audio.addEventListener("play", () => {
      last = audio.currentTime;
      state.plays[heardKey] = (state.plays[heardKey] || 0) + 1;
      log("play", item);
      refresh();
    });
    audio.addEventListener("timeupdate", look);
    audio.addEventListener("seeking", () => { last = null; });
    audio.addEventListener("pause", () => {
      look();
      last = null;
      if (!audio.ended) log("pause", item);
      keep();
    });
    audio.addEventListener("ended", () => {
      look();
      log("ended", item);
      keep();
    });
    refresh();
    const self = { audio, toggle, element, button, name, heard: whole };
    players.push(self);
    return self;
  }

  function silence() {
    for (const { audio } of players) {
      audio.pause();
      if (audio.src) {
        const url = audio.src;
        audio.removeAttribute("src");
        audio.load();
        URL.revokeObjectURL(url);
      }
    }
    players = [];
  }

  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input:not([type=range], [type=radio]), textarea, select");
    if (typing || event.altKey || event.ctrlKey || event.metaKey || !/^[1-9]$/.test(event.key)) return;
    const clips = players.filter((one) => one.numbered);
    if (clips[event.key - 1]) {
      event.preventDefault();
      clips[event.key - 1].toggle();
    }
  });

  // the time on a page counts while it is seen, by a clock that nobody sets back

  let entered = null;

  function count() {
    if (entered !== null && asked(state.at)) {
      const number = numberOf(state.at);
      state.page_seconds[number] = Math.round(((state.page_seconds[number] || 0) + (performance.now() - entered) / 1000) * 100) / 100;
    }
    entered = document.hidden ? null : performance.now();
  }

  document.addEventListener("visibilitychange", () => {
    count();
    keep();
  });
  window.addEventListener("pagehide", () => {
    count();
    keep();
  });

  // answers

  function secondsHere() {
    count();
    return state.page_seconds[numberOf(state.at)] || 0;
  }

  function documentOf() {
    const answers = [];
    pages.forEach((page, number) => {
      const heard = page.items.map((item) => state.heard[`${number}:${item}`] || 0);
      const plays = page.items.map((item) => state.plays[`${number}:${item}`] || 0);
      if (pairs) {
        const given = state.answers[number];
        if (given) answers.push({ page: number, items: page.items, choice: given.choice, heard, seconds: given.seconds, plays });
        return;
      }
      page.items.forEach((item, index) => {
        const given = state.answers[`${number}:${item}`];
        if (given) {
          answers.push({ page: number, item, rating: given.rating, heard: heard[index], seconds: given.seconds, plays: plays[index] });
        }
      });
    });
    return {
      kind: "listening answers", schema: 1, study: data.study, session: data.session, rater: state.rater,
      finished: state.finished, started: state.started, ended: state.ended || new Date().toISOString(),
      headphones: state.headphones, comment: state.comment, answers, page_seconds: state.page_seconds,
      events: state.events,
    };
  }

  function download() {
    count();
    keep();
    const text = JSON.stringify(documentOf(), null, 1);
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const link = made("a", { href: url, download: `answers-${data.study.slice(0, 8)}-${data.session}.json` });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
    say("Your answers so far were saved as a file.");
  }

  // one send at a time, the latest answers last
  let sending = null;

  async function send() {
    if (!served) return "";
    while (sending) await sending;
    sending = (async () => {
      try {
        const response = await fetch(location.pathname, {
          method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(documentOf()),
        });
        return response.ok ? "" : (await response.text()).trim() || `status ${response.status}`;
      } catch {
        return "the server does not answer";
      }
    })();
    const failure = await sending;
    sending = null;
    return failure;
  }

  function say(text) {
    document.getElementById("listen-status").textContent = text;
  }

  // pages

  function go(step, what) {
    count();
    log(what, numberOf(step));
    silence();
    state.at = step;
    if (step === steps - 1 && !state.finished) {
      state.finished = true;
      state.ended = new Date().toISOString();
    }
    keep();
    show();
    main.querySelector("h1").focus();
    window.scrollTo(0, 0);
    if (step > BEFORE && step < steps - 1) send();
  }

  function heading(text) {
    return made("h1", { tabindex: "-1" }, text);
  }

  // "next" stays in reach of keyboards while it is barred, and says why it is
  function onwards(label, missing, next) {
    const todo = made("p", { class: "listen-todo", id: "listen-todo" });
    const button = made("button", {
      type: "button", class: "listen-next", "aria-describedby": "listen-todo", onclick() {
        const left = missing();
        if (!left.length) return next();
        say(`Still to do: ${left.map((one) => one.text).join(", ")}.`);
        left[0].element.focus();
      },
    }, label);
    const back = state.at > 0 && state.at < steps - 1
      ? made("button", { type: "button", onclick: () => go(state.at - 1, "back") }, "Back") : null;
    const update = () => {
      const left = missing();
      button.setAttribute("aria-disabled", String(left.length > 0));
      todo.textContent = left.length ? `Still to do: ${left.slice(0, 3).map((one) => one.text).join(", ")}${left.length > 3 ? " …" : "."}` : "";
    };
    update();
    return { element: made("div", { class: "listen-go" }, back, button, todo), update };
  }

  function welcome() {
    const name = made("input", { type: "text", maxlength: "200", autocomplete: "off", value: state.rater });
    const how = made("select", {},
      made("option", { value: "" }, "Please choose"),
      made("option", { value: "headphones" }, "Headphones"),
      made("option", { value: "loudspeakers" }, "Loudspeakers"));
    how.value = state.headphones === null ? "" : state.headphones ? "headphones" : "loudspeakers";
    const clips = pages.reduce((sum, page) => sum + page.items.length, 0);
    const bar = onwards("Begin", () => (how.value ? [] : [{ text: "say what you listen with", element: how }]), () => {
      state.rater = name.value.trim();
      state.headphones = how.value === "headphones";
      if (!state.started) state.started = new Date().toISOString();
      go(1, "next");
    });
    how.addEventListener("change", bar.update);
    return [
      heading("Thank you for listening"),
      made("p", {}, `You will hear ${clips} short clips of music on ${pages.length} pages, and say what you think of them. `,
        "Listen in a quiet place, on headphones if you can."),
      made("h2", {}, words.question),
      ...words.about.map((text) => made("p", {}, text)),
      made("p", {}, "There are no right answers: no clip is the one that others are measured by, and some may be very good or very bad. ",
        "Judge each one by what you hear."),
      made("p", {}, "You can stop and come back on this device: the page remembers where you were."),
      keeps ? null : made("p", { class: "page-note", "data-tone": "warn" },
        "This browser keeps nothing for this page: do not close it before the end, or use “Save so far”."),
      made("div", { class: "listen-fields" },
        made("label", {}, "Your name or a code ", made("small", {}, "optional"), name),
        made("label", {}, "What do you listen with?", how)),
      bar.element,
    ];
  }

  function volume() {
    let bar = null;
    const clip = player(practice.items[0], "the sound", "volume", () => bar.update());
    bar = onwards("Continue", () => (clip.heard() ? [] : [{ text: "hear the sound to its end", element: clip.button }]), () => go(2, "next"));
    return [
      heading("Set your volume"),
      made("p", {}, "Play this sound, and set the volume of your device so that the music is comfortable and clear. ",
        "Please do not change it after this page: all clips are equally loud."),
      made("div", { class: "page-card" }, clip.element),
      bar.element,
    ];
  }

  function question(step) {
    const page = pageOf(step);
    const number = numberOf(step);
    const controls = [];
    let bar = null;
    const changed = () => bar.update();
    const melody = page.melody ? player(page.melody, "the melody", number, changed) : null;
    const clips = page.items.map((item, index) => {
      const clip = player(item, letter(index), number, changed);
      clip.numbered = true;
      return clip;
    });
    const items = page.items.map((item, index) => made("li", { class: "page-card" }, clips[index].element,
      pairs ? null : slider(item, index, number, controls, changed)));
    const choice = pairs ? choices(number, controls, changed) : null;
    const missing = () => [
      ...[...(melody ? [melody] : []), ...clips].filter((clip) => !clip.heard())
        .map((clip) => ({ text: `hear ${clip.name} to its end`, element: clip.button })),
      ...controls.filter((control) => !control.given()).map((control) => ({ text: control.text, element: control.element })),
    ];
    bar = onwards(step === BEFORE - 1 ? "Begin the test" : step === steps - 2 ? "Finish" : "Next", missing, () => go(step + 1, "next"));
    const many = page.items.length;
    const beside = made("div", { class: "listen-asked" },
      page.caption ? made("blockquote", { class: "listen-caption" },
        made("p", { class: "listen-of" }, "Description"), made("p", {}, page.caption),
        page.translation ? made("p", { class: "listen-of" }, `In translation: ${page.translation}`) : null) : null,
      melody ? made("div", { class: "listen-caption" },
        made("p", { class: "listen-of" }, "The melody that the clips should follow"), melody.element) : null);
    const right = made("div", {}, made("ol", { class: "listen-items" }, ...items), choice);
    return [
      heading(step === BEFORE - 1 ? "Practice" : words.question),
      step === BEFORE - 1 ? made("p", {}, "Try it: these answers do not count. ", made("strong", {}, words.question)) : null,
      page.caption || melody ? made("div", { class: "listen-beside" }, beside, right) : right,
      made("p", { class: "page-quiet listen-keys" }, "Keys ", made("kbd", {}, "1"), many === 2 ? " and " : many > 1 ? " to " : null,
        many > 1 ? made("kbd", {}, String(many)) : null, " play and pause the clips."),
      bar.element,
    ];
  }

  function slider(item, index, number, controls, changed) {
    const answer = `${number}:${item}`;
    const id = `listen-rating-${index}`;
    const given = state.answers[answer];
    const shown = made("output", { for: id });
    const input = made("input", {
      type: "range", id, min: lowest, max: highest, step: 1, "aria-describedby": `${id}-anchors`,
    });
    input.value = given ? given.rating : Math.floor((lowest + highest) / 2);
    const paint = () => {
      const rated = answer in state.answers;
      input.toggleAttribute("data-unset", !rated);
      shown.toggleAttribute("data-rated", rated);
      shown.textContent = rated ? input.value : "not rated yet";
      const place = Math.min(4, Math.floor((5 * (input.value - lowest)) / (highest - lowest + 1)));
      input.setAttribute("aria-valuetext", rated ? `${input.value}, ${words.anchors[place]}` : "not rated yet");
    };
    const rate = (final) => {
      state.answers[answer] = { rating: Number(input.value), seconds: secondsHere() };
      if (final) {
        log("rate", item);
        keep();
      }
      paint();
      changed();
    };
    input.addEventListener("input", () => rate(false));
    input.addEventListener("change", () => rate(true));
    // a press where the handle stands already changes no value, but is an answer
    input.addEventListener("pointerup", () => rate(true));
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        rate(true);
      }
    });
    controls.push({ text: `rate ${letter(index)}`, element: input, given: () => answer in state.answers });
    paint();
    return made("div", { class: "listen-rating" },
      made("label", { for: id }, made("span", {}, `Rating of ${letter(index)}`), shown), input,
      made("div", { class: "listen-anchors", id: `${id}-anchors` }, ...words.anchors.map((text) => made("span", {}, text))));
  }

  function choices(number, controls, changed) {
    const inputs = words.choices.map(([value, text]) => {
      const input = made("input", { type: "radio", name: "listen-choice", value });
      input.checked = state.answers[number]?.choice === value;
      input.addEventListener("change", () => {
        state.answers[number] = { choice: value, seconds: secondsHere() };
        log("choose", number);
        keep();
        changed();
      });
      return [input, made("label", {}, input, text)];
    });
    controls.push({ text: "choose", element: inputs[0][0], given: () => number in state.answers });
    return made("fieldset", { class: "listen-choice" }, made("legend", {}, "Your choice"),
      made("div", {}, ...inputs.map(([, label]) => label)));
  }

  function end() {
    const sent = made("p", { class: "page-note", id: "listen-sent" });
    const comment = made("textarea", { maxlength: "2000" });
    comment.value = state.comment;
    const saved = made("button", { type: "button", class: "listen-next", onclick: download }, "Save my answers as a file");
    const again = made("button", { type: "button", hidden: true, onclick: deliver }, "Send again");
    async function deliver() {
      if (!served) {
        sent.textContent = "Save your answers as a file, and send the file to whoever asked you.";
        return;
      }
      sent.removeAttribute("data-tone");
      sent.textContent = "Sending your answers …";
      const failure = await send();
      again.hidden = !failure;
      sent.dataset.tone = failure ? "bad" : "good";
      sent.textContent = failure
        ? `Your answers were not received: ${failure}. Send them again, or save them as a file and send that to whoever asked you.`
        : "Your answers were received. You can close this page.";
      say(sent.textContent);
    }
    comment.addEventListener("change", () => {
      state.comment = comment.value.trim();
      keep();
      if (served) deliver();
    });
    deliver();
    return [
      heading("Thank you!"),
      made("p", {}, "That was the last page."),
      sent,
      made("div", { class: "listen-fields" }, made("label", {}, "Is there anything to say about the test? ", made("small", {}, "optional"), comment)),
      made("div", { class: "listen-go" }, saved, again),
    ];
  }

  function show() {
    const step = Math.min(state.at, steps - 1);
    const shown = step === 0 ? welcome() : step === 1 ? volume() : step === steps - 1 ? end() : question(step);
    main.replaceChildren(...shown.filter(Boolean));
    main.classList.toggle("listen-pairs", pairs);
    const on = step >= BEFORE && step < steps - 1;
    document.getElementById("listen-progress").hidden = !on;
    document.getElementById("listen-save").hidden = !on;
    if (on) {
      document.getElementById("listen-where").textContent = `Page ${step - BEFORE + 1} of ${pages.length}`;
      document.getElementById("listen-done").value = (step - BEFORE) / pages.length;
    }
    document.title = `${main.querySelector("h1").textContent} – listening test`;
    entered = document.hidden ? null : performance.now();
  }

  document.getElementById("listen-save").addEventListener("click", download);
  show();
}
