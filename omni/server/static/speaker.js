// The loudspeaker: queues the voice in an AudioWorklet and tells how much of it was really played.

export class Speaker {
  #context = null;
  #node = null;
  #ready = null;
  #waiting = [];
  #flushed = -1;
  device = localStorage.getItem("omni.speaker") ?? "";
  speaking = null;

  /** `onplayed({turn, samples, final})` about ten times a second; `onspeaking(turn or null)` when that changes. */
  constructor({ onplayed, onspeaking }) {
    Object.assign(this, { onplayed, onspeaking });
  }

  get context() {
    return this.#context;
  }

  get node() {
    return this.#node;
  }

  /** Make sound possible. Browsers allow it only after a click or a key. */
  unlock() {
    this.#ready ??= this.#open();
    if (this.#context?.state === "suspended") this.#context.resume();
    return this.#ready;
  }

  get blocked() {
    return !this.#context || this.#context.state !== "running";
  }

  async #open() {
    this.#context = new AudioContext({ latencyHint: "interactive" });
    await this.#context.audioWorklet.addModule("/static/worklets/playback.js");
    this.#node = new AudioWorkletNode(this.#context, "omni-playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#node.port.onmessage = ({ data }) => this.#report(data);
    this.#node.connect(this.#context.destination);
    if (this.device) await this.choose(this.device);
    for (const piece of this.#waiting.splice(0)) this.play(piece);
  }

  play(piece) {
    if (piece.turn <= this.#flushed) return;
    if (!this.#node) {
      this.#waiting.push(piece);
      this.unlock();
      return;
    }
    this.#node.port.postMessage(piece, [piece.pcm]);
    if (this.speaking !== piece.turn) this.#speaks(piece.turn);
  }

  /** Silence, at once, for this turn and all before it. */
  flush(turn) {
    this.#flushed = Math.max(this.#flushed, turn);
    this.#waiting = this.#waiting.filter((piece) => piece.turn > turn);
    this.#node?.port.postMessage({ flush: turn });
    if (this.speaking !== null && this.speaking <= turn) this.#speaks(null);
  }

  /** Wait where it is, or go on from there. */
  hold(held) {
    this.#node?.port.postMessage({ hold: held });
  }

  /** Another session counts its turns anew. */
  reset() {
    this.flush(Number.MAX_SAFE_INTEGER);
    this.#flushed = -1;
    this.#node?.disconnect();
    this.#node = null;
    this.#ready = null;
    const old = this.#context;
    this.#context = null;
    old?.close();
  }

  #report(report) {
    if (report.flushed !== undefined) return;
    // What the worklet handed over sounds a moment later; what fell silent has sounded, or can't be called back.
    const late = report.final ? 0 : Math.round((this.#context?.outputLatency || 0) * report.rate);
    this.onplayed({ turn: report.turn, samples: Math.max(0, report.samples - late), final: report.final });
    if (report.final && this.speaking === report.turn) this.#speaks(null);
  }

  #speaks(turn) {
    this.speaking = turn;
    this.onspeaking(turn);
  }

  async choose(device) {
    this.device = device;
    localStorage.setItem("omni.speaker", device);
    try {
      await this.#context?.setSinkId?.(device);
    } catch {
      this.device = "";
      localStorage.removeItem("omni.speaker");
    }
  }
}
