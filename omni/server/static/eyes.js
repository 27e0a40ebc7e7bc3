// The camera and the screen: one picture a second while on; the latest is what counts.

const EVERY_MS = 1000;
const LONGEST = { camera: 1280, screen: 1920 };

export class Eye {
  #stream = null;
  #timer = 0;
  #canvas = document.createElement("canvas");
  video = document.createElement("video");

  /** `source` is "camera" or "screen"; `onpicture(source, jpeg)` gets a Blob, `onend(source)` when it stops by itself. */
  constructor(source, { onpicture, onend }) {
    Object.assign(this, { source, onpicture, onend });
    Object.assign(this.video, { muted: true, playsInline: true });
  }

  get on() {
    return this.#stream !== null;
  }

  /** Rejects with an Error that has a `remedy`. */
  async start() {
    try {
      this.#stream =
        this.source === "camera"
          ? await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, height: { ideal: 720 } } })
          : await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 5 } });
    } catch (error) {
      const name = this.source;
      const [message, remedy] =
        error.name === "NotAllowedError"
          ? [`The ${name} was not shared.`, "Press the button again and allow it."]
          : error.name === "NotFoundError"
            ? [`There is no ${name} on this machine.`, "Plug one in, or drop a picture here."]
            : [`The ${name} could not be opened (${error.name}).`, "Close other programs that use it, then try again."];
      throw Object.assign(new Error(message), { remedy });
    }
    this.#stream.getVideoTracks()[0].addEventListener("ended", () => {
      this.stop();
      this.onend(this.source);
    });
    this.video.srcObject = this.#stream;
    await this.video.play();
    this.#look();
  }

  async #look() {
    if (!this.on) return;
    const { videoWidth: width, videoHeight: height } = this.video;
    if (width && height) {
      const scale = Math.min(1, LONGEST[this.source] / Math.max(width, height));
      this.#canvas.width = Math.round(width * scale);
      this.#canvas.height = Math.round(height * scale);
      this.#canvas.getContext("2d").drawImage(this.video, 0, 0, this.#canvas.width, this.#canvas.height);
      const jpeg = await new Promise((done) => this.#canvas.toBlob(done, "image/jpeg", 0.85));
      if (this.on && jpeg) this.onpicture(this.source, jpeg);
    }
    if (this.on) this.#timer = setTimeout(() => this.#look(), EVERY_MS);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    this.video.srcObject = null;
  }
}
