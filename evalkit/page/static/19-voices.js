// What a clip sounds with: a buffer of Web Audio where the clip is inside the page, which starts, stops and changes
// its level to the sample; an audio element where it is linked, as a page that is a file may not read other files.
// Nothing is decoded, and no file is opened, before it is played.
{
  const FADE = 0.012; // seconds from one clip to another, so that none begins with a click
  const FORGOTTEN = 24; // decoded clips that are kept

  const NEAR = 0.03; // seconds from where an element should be that are not made up for
  const HUSHED = 0.0001; // the volume of an element that is not to be heard: -80 dB
  const SETTLED = 400; // ms after which the clock of an element runs evenly
  const WINDOW = 0.07; // seconds in which the clock of an element is looked at
  const TRIES = 4;

  let lag = 0.1; // seconds that elements need to get going, as it was found so far
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

  function decode(sound) {
    let found = decoded.get(sound);
    decoded.delete(sound);
    found ??= audio()
      .decodeAudioData(evalkit.bytes(sound.base64))
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

    rest() {
      this.stop();
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
      this.loud = 1; // a factor
      this.hushed = false;
      this.begun = 0; // when it was set to a place, in ms: its clock does not run evenly at once
      this.run = 0; // counts starts, of which the last counts
    }

    prepare() {
      if (this.element !== null && this.element.error === null) return;
      this.element = new Audio(this.sound.href);
      this.element.preload = "auto";
      this.element.addEventListener("loadedmetadata", () => {
        if (!this.seconds) this.seconds = this.element.duration - this.first;
      });
    }

    async load() {
      this.prepare();
    }

    // Where another clip sounds, `place` moves: this one runs unheard until it is at the same place, and then is heard.
    async start(place, level, before) {
      this.prepare();
      const { element } = this;
      const run = ++this.run;
      const asked = () => run === this.run && !element.paused;
      this.level(level);
      try {
        if (!before) {
          this.hush(false);
          this.begun = performance.now();
          element.currentTime = this.first + place();
          await element.play();
        }
        for (let tries = 0; before && tries < TRIES; tries += 1) {
          const steady = !element.paused && performance.now() > this.begun + SETTLED;
          if (steady && Math.abs(place() - this.position) < NEAR) break;
          this.hush(true);
          element.currentTime = this.first + place() + lag;
          this.begun = performance.now();
          await element.play();
          if (!(await running(element, asked))) return;
          this.begun = -Infinity;
          lag = Math.min(0.5, Math.max(0, lag + place() - this.position));
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
      this.hush(false);
    }

    get position() {
      return this.element.currentTime - this.first;
    }

    level(value) {
      this.loud = value;
      if (this.element !== null) this.hush(this.hushed);
    }

    // no more heard, but going on: it is at the right place when it is chosen again
    rest() {
      this.hush(true);
    }

    // by its volume, not quite to 0: an element without any sound changes its output, which makes it stumble. On iOS
    // elements have no volume, and are muted.
    hush(hushed) {
      this.hushed = hushed;
      this.element.volume = hushed ? HUSHED : Math.min(1, this.loud);
      this.element.muted = hushed && this.element.volume > 2 * HUSHED;
    }

    stop() {
      this.run += 1;
      this.element?.pause();
    }
  }

  const moment = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

  // Wait until the clock of an element runs evenly, which it does not at first; whether it is still `asked` for then.
  async function running(element, asked) {
    for (let tries = 0; tries < 30; tries += 1) {
      const [now, at] = [performance.now() / 1000, element.currentTime];
      await moment(WINDOW);
      if (!asked()) return false;
      const slow = performance.now() / 1000 - now - (element.currentTime - at);
      if (Math.abs(slow) < WINDOW / 5) break;
    }
    return true;
  }

  // The voice of an entry of the data "sounds"; null for one that only has a reason why it cannot be played.
  evalkit.voice = (sound) =>
    sound === undefined || "reason" in sound
      ? null
      : new ("base64" in sound ? Inside : Linked)(sound);

  // What is heard of clips inside of the page: {context, node}; null before the first is played.
  evalkit.heard = () => context && { context, node: out };
}
