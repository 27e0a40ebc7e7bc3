// The loudspeaker's side: plays what is queued, says how far it is in the turn's own samples, and
// falls silent within one quantum when told to.

import { Resampler } from "./resampler.js";

const REPORT_S = 0.1;
const HOLD_S = 2; // whoever asked to wait has this long to say how it goes on
const QUANTUM = 128;

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // {turn, data: Float32Array at the context's rate, at, start, end: samples of the turn}
    this.resampler = null;
    this.source = { turn: -1, rate: 0, end: 0 };
    this.flushed = -1;
    this.reported = 0;
    this.playing = null; // the turn that sounds
    this.tail = null; // the ramp to silence after a flush
    this.last = 0;
    this.held = null; // since when it waits, while it does
    this.ramp = 0; // 1: the next quantum fades in, -1: it fades out
    this.port.onmessage = ({ data }) => {
      if (data.flush !== undefined) this.#flush(data.flush);
      else if (data.hold !== undefined) this.#hold(data.hold);
      else this.#take(data);
    };
  }

  #hold(held) {
    if (held === (this.held !== null)) return;
    this.held = held ? currentTime : null;
    this.ramp = this.playing ? (held ? -1 : 1) : 0;
  }

  #take({ turn, rate, offset, pcm }) {
    if (turn <= this.flushed) return;
    const ints = new Int16Array(pcm);
    let skip = 0;
    if (turn === this.source.turn && rate === this.source.rate) {
      skip = Math.max(0, this.source.end - offset); // sent again after the line was down
      if (skip >= ints.length) return;
    } else {
      this.resampler = rate === sampleRate ? null : new Resampler(rate, sampleRate);
    }
    const samples = new Float32Array(ints.length - skip);
    for (let i = 0; i < samples.length; i++) samples[i] = ints[i + skip] / 32768;
    const data = this.resampler ? this.resampler.push(samples) : samples;
    this.source = { turn, rate, end: offset + ints.length };
    this.queue.push({ turn, rate, data, at: 0, start: offset + skip, end: offset + ints.length });
  }

  #position(item) {
    if (item.at >= item.data.length) return item.end;
    return item.start + Math.floor((item.at / item.data.length) * (item.end - item.start));
  }

  process(_inputs, [output]) {
    const channel = output[0];
    let filled = 0;
    if (this.tail) {
      channel.set(this.tail);
      filled = this.tail.length;
      this.tail = null;
      this.last = 0;
    }
    if (this.held !== null && currentTime - this.held > HOLD_S) this.#hold(false);
    const waits = this.held !== null && this.ramp !== -1;
    while (!waits && filled < channel.length && this.queue.length) {
      const item = this.queue[0];
      const part = item.data.subarray(item.at, item.at + channel.length - filled);
      channel.set(part, filled);
      filled += part.length;
      item.at += part.length;
      this.playing = item;
      if (item.at >= item.data.length) this.#next();
    }
    if (this.ramp) this.#fade(channel);
    if (filled) this.last = this.held === null ? channel[filled - 1] : 0;
    for (; filled < channel.length; filled++) channel[filled] = this.last *= 0.9; // no click where sound runs out
    for (let i = 1; i < output.length; i++) output[i].set(channel);
    if (this.playing && currentTime - this.reported >= REPORT_S) this.#report(this.playing, false);
    return true;
  }

  #fade(channel) {
    const n = channel.length;
    for (let i = 0; i < n; i++) channel[i] *= this.ramp > 0 ? (i + 1) / n : 1 - (i + 1) / n;
    if (this.ramp < 0 && this.playing) this.#report(this.playing, false);
    this.ramp = 0;
  }

  #next() {
    const done = this.queue.shift();
    const next = this.queue[0];
    if (!next || next.turn !== done.turn) {
      this.#report(done, true);
      this.playing = null;
    }
  }

  #report(item, final) {
    this.reported = currentTime;
    this.port.postMessage({ turn: item.turn, rate: item.rate, samples: this.#position(item), final });
  }

  #flush(turn) {
    this.flushed = Math.max(this.flushed, turn);
    this.#hold(false);
    this.ramp = 0;
    const playing = this.playing && this.playing.turn <= turn ? this.playing : null;
    if (playing) {
      this.tail = new Float32Array(QUANTUM);
      const rest = playing.data.subarray(playing.at, playing.at + QUANTUM);
      for (let i = 0; i < rest.length; i++) this.tail[i] = rest[i] * (1 - (i + 1) / QUANTUM);
      playing.at += rest.length;
      this.#report(playing, true);
      this.playing = null;
    }
    this.queue = this.queue.filter((item) => item.turn > turn);
    this.port.postMessage({ flushed: turn });
  }
}

registerProcessor("omni-playback", Playback);
