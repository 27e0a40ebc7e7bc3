// The microphone's side: 20 ms frames of 16 kHz PCM and how loud each was, whatever the context's rate.

import { Resampler } from "./resampler.js";

const RATE = 16000;
const FRAME = 320;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = sampleRate === RATE ? null : new Resampler(sampleRate, RATE);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.energy = 0;
  }

  process([input]) {
    const channel = input[0];
    if (!channel) return true;
    const samples = this.resampler ? this.resampler.push(channel) : channel;
    for (const sample of samples) {
      const value = Number.isFinite(sample) ? Math.max(-1, Math.min(1, sample)) : 0;
      this.frame[this.filled++] = Math.round(value * 32767);
      this.energy += value * value;
      if (this.filled === FRAME) this.#post();
    }
    return true;
  }

  #post() {
    const pcm = this.frame.buffer;
    this.port.postMessage({ pcm, level: Math.sqrt(this.energy / FRAME) }, [pcm]);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.energy = 0;
  }
}

registerProcessor("omni-capture", Capture);
