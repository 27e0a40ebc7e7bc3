// The microphone: opened on a click, 16 kHz frames through an AudioWorklet, the browser's echo cancellation on.

export class Microphone {
  #context = null;
  #stream = null;
  #seq = 0;
  muted = false;
  device = localStorage.getItem("omni.microphone") ?? "";

  /** `onframe(seq, pcm)` gets each frame, `onlevel(0..1)` its loudness, `onlost()` when the device goes away. */
  constructor({ onframe, onlevel, onlost }) {
    Object.assign(this, { onframe, onlevel, onlost });
  }

  get live() {
    return this.#stream !== null;
  }

  /** Open it (again, after the device was changed). Rejects with an Error that has a `remedy`. */
  async open() {
    await this.close();
    if (!navigator.mediaDevices) {
      throw explain({ name: "Insecure" });
    }
    const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
    if (this.device) audio.deviceId = { ideal: this.device };
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({ audio });
    } catch (error) {
      throw explain(error);
    }
    this.#stream.getAudioTracks()[0].addEventListener("ended", () => this.close().then(() => this.onlost()));
    await this.#attach();
  }

  async #attach() {
    // Some browsers can't feed a microphone into a context of another rate: then the worklet resamples.
    for (const options of [{ sampleRate: 16000 }, {}]) {
      this.#context = new AudioContext({ ...options, latencyHint: "interactive" });
      try {
        await this.#context.audioWorklet.addModule("/static/worklets/capture.js");
        const source = this.#context.createMediaStreamSource(this.#stream);
        const node = new AudioWorkletNode(this.#context, "omni-capture", { numberOfInputs: 1, numberOfOutputs: 0 });
        node.port.onmessage = ({ data }) => this.#frame(data);
        source.connect(node);
        await this.#context.resume();
        return;
      } catch (error) {
        await this.#context.close();
        if (!options.sampleRate) {
          await this.close();
          throw explain(error);
        }
      }
    }
  }

  #frame({ pcm, level }) {
    this.onlevel(this.muted ? 0 : level);
    if (!this.muted) this.onframe(this.#seq++, pcm);
  }

  async close() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    const context = this.#context;
    this.#context = null;
    if (context && context.state !== "closed") await context.close();
    this.onlevel(0);
  }

  choose(device) {
    this.device = device;
    localStorage.setItem("omni.microphone", device);
  }
}

/** The devices there are, by kind ("audioinput", "audiooutput", "videoinput"). */
export async function devices(kind) {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return all.filter((device) => device.kind === kind && device.deviceId);
}

function explain(error) {
  const [message, remedy] = {
    NotAllowedError: ["The browser does not let this page hear the microphone.", "Allow it in the address bar, then press Start again. You can type meanwhile."],
    NotFoundError: ["There is no microphone on this machine.", "Plug one in and press Start again. You can type meanwhile."],
    NotReadableError: ["The microphone is used by another program.", "Close that program, then press Start again."],
    Insecure: ["The browser gives the microphone only to pages of this machine.", "Open the page as http://127.0.0.1 or http://localhost."],
  }[error.name] ?? [`The microphone could not be opened (${error.name}).`, "Choose another one in the settings, or type."];
  return Object.assign(new Error(message), { remedy, name: error.name });
}
