// What a clip sounds with: a buffer of Web Audio where the clip is inside the page, which starts, stops and changes
// its level to the sample; an audio element where it is linked, as a page that is a file may not read other files.
// Nothing is decoded, and no file is opened, before it is played.
{
  const FADE = 0.012; // seconds from one clip to another, so that none begins with a click
  const FORGOTTEN = 24; // decoded clips that are kept

  let context = null;
  let out = null;
  const decoded = new Map(); // by entry, the oldest first

  function audio() {
    if (context === null) {
      context = new AudioContext();
      out = context.createGain();
      out.connect(context.destination);
    }
    return context;
  }

  function bytes(base64) {
    const text = atob(base64);
    const found = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i += 1) found[i] = text.charCodeAt(i);
    return found.buffer;
  }

  function decode(sound) {
    let found = decoded.get(sound);
    decoded.delete(sound);
    found ??= audio()
      .decodeAudioData(bytes(sound.base64))
      .catch(() => {
        decoded.delete(sound);
        throw new Error("this browser cannot decode it");
      });
    decoded.set(sound, found);
    if (decoded.size > FORGOTTEN) decoded.delete(decoded.keys().next().value);
    return found;
  }

  class Inside {
    constructor(sound) {
      this.sound = sound;
      this.seconds = sound.seconds;
      this.node = null;
    }

    // called in the click itself, without which browsers give no sound
    prepare() {
      audio().resume();
    }

    load() {
      return decode(this.sound);
    }

    // begin where `place` says that one is when it begins; `level` is a factor
    async start(place, level) {
      const buffer = await this.load();
      await audio().resume();
      this.stop();
      const node = context.createBufferSource();
      const gain = context.createGain();
      node.buffer = buffer;
      node.connect(gain).connect(out);
      const now = context.currentTime;
      const at = place();
      gain.gain.setValueAtTime(0, now);
      gain.gain.linearRampToValueAtTime(level, now + FADE);
      node.start(now, at);
      this.node = node;
      this.gain = gain;
      this.zero = now - at;
    }

    get position() {
      return context.currentTime - this.zero;
    }

    level(value) {
      this.gain?.gain.setTargetAtTime(value, context.currentTime, FADE / 3);
    }

    stop() {
      const { node, gain } = this;
      this.node = null;
      if (node === null) return;
      gain.gain.setTargetAtTime(0, context.currentTime, FADE / 3);
      node.stop(context.currentTime + 2 * FADE);
    }
  }

  class Linked {
    constructor(sound) {
      this.sound = sound;
      this.first = sound.start ?? 0;
      this.seconds = sound.seconds ?? 0;
      this.element = null;
      this.run = 0; // counts starts, of which the last counts
    }

    prepare() {
      if (this.element !== null && this.element.error === null) return;
      this.element = new Audio(this.sound.href);
      this.element.preload = "auto";
      this.element.preservesPitch = true;
      this.element.addEventListener("loadedmetadata", () => {
        if (!this.seconds) this.seconds = this.element.duration - this.first;
      });
    }

    async load() {
      this.prepare();
    }

    async start(place, level) {
      this.prepare();
      const { element } = this;
      const run = ++this.run;
      element.muted = true;
      this.level(level);
      try {
        element.currentTime = this.first + place();
        await element.play();
        // an element needs a moment from where it was told to begin to where it is heard: made up for, then heard
        for (let tries = 0; tries < 3; tries += 1) {
          const late = place() - this.position;
          if (run !== this.run || Math.abs(late) < 0.025) break;
          element.currentTime += late + (tries ? 0 : 0.02);
          await once(element, "seeked");
        }
      } catch (error) {
        if (error.name === "AbortError") return; // stopped before it began
        throw new Error(
          error.name === "NotAllowedError"
            ? "this browser wants a click first"
            : "its file cannot be opened or played: has it been moved since the page was written?",
          { cause: error },
        );
      }
      element.muted = false;
    }

    get position() {
      return this.element.currentTime - this.first;
    }

    level(value) {
      if (this.element !== null) this.element.volume = Math.min(1, value);
    }

    stop() {
      this.element?.pause();
    }
  }

  function once(target, type) {
    return new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));
  }

  // The voice of an entry of the data "sounds"; null for one that only has a reason why it cannot be played.
  evalkit.voice = (sound) =>
    sound === undefined || "reason" in sound
      ? null
      : new ("base64" in sound ? Inside : Linked)(sound);

  // What is heard of clips inside of the page: {context, node}; null before the first is played.
  evalkit.heard = () => context && { context, node: out };
}
