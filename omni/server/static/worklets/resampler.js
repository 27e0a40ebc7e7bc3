// Changes the rate of a stream of samples: a windowed sinc, evaluated where each new sample falls.

const ZEROS = 12; // zero crossings each side
const STEPS = 256; // table entries between two zero crossings

const table = new Float32Array(ZEROS * STEPS + 2);
for (let i = 0; i < table.length; i++) {
  const x = i / STEPS;
  const sinc = x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
  const window = x >= ZEROS ? 0 : 0.5 + 0.5 * Math.cos((Math.PI * x) / ZEROS);
  table[i] = sinc * window;
}

/** `push(samples)` gives as many samples at the new rate as are certain by now; `flush()` the rest. */
export class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.scale = Math.min(1, to / from) * (to < from ? 0.92 : 1); // the cut, a little below the lower Nyquist
    this.half = Math.ceil(ZEROS / this.scale);
    this.held = new Float32Array(this.half); // silence before the first sample
    this.at = this.half; // where in `held` the next new sample falls
  }

  push(samples) {
    const input = new Float32Array(this.held.length + samples.length);
    input.set(this.held);
    input.set(samples, this.held.length);
    const count = Math.max(0, Math.ceil((input.length - this.half - this.at) / this.step));
    const output = new Float32Array(count);
    for (let i = 0; i < count; i++) output[i] = this.#value(input, this.at + i * this.step);
    const next = this.at + count * this.step;
    const keep = Math.max(0, Math.floor(next) - this.half);
    this.held = input.slice(keep);
    this.at = next - keep;
    return output;
  }

  flush() {
    return this.push(new Float32Array(this.half));
  }

  #value(input, position) {
    const first = Math.max(0, Math.ceil(position - this.half));
    const last = Math.min(input.length - 1, Math.floor(position + this.half));
    let sum = 0;
    for (let i = first; i <= last; i++) {
      const x = Math.abs(i - position) * this.scale * STEPS;
      const index = x | 0;
      if (index < ZEROS * STEPS) sum += input[i] * (table[index] + (table[index + 1] - table[index]) * (x - index));
    }
    return sum * this.scale;
  }
}
