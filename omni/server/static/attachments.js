// Pictures and documents that go with the next turn: chosen, pasted or dropped anywhere on the page.

import { upload } from "./api.js";
import { announce, h } from "./dom.js";
import { figure } from "./panels.js";

const MOST = 8;

export class Attachments {
  #waiting = []; // {ref, kind, name, url}

  /** `onchange()` after something was taken in. */
  constructor({ line, stage, dock, onchange }) {
    Object.assign(this, { line, stage, dock, onchange });
    dock.file.addEventListener("change", () => {
      this.take([...dock.file.files]);
      dock.file.value = "";
    });
    document.addEventListener("paste", (event) => this.#given(event, event.clipboardData?.files));
    document.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
    document.addEventListener("drop", (event) => {
      document.body.classList.remove("dropping");
      this.#given(event, event.dataTransfer?.files);
    });
  }

  get refs() {
    return this.#waiting.map((a) => a.ref);
  }

  /** A turn took them. */
  clear() {
    if (!this.#waiting.length) return;
    this.#waiting = [];
    this.#show();
  }

  #given(event, files) {
    if (!files?.length) return;
    event.preventDefault();
    this.take([...files]);
  }

  /** Upload files; what is refused is said above the dock. */
  async take(files) {
    for (const file of files) {
      try {
        const query = new URLSearchParams({ session: this.line.session, name: file.name ?? "" });
        const kept = await upload(`/api/media?${query}`, file);
        this.#add({ ...kept, url: kept.kind === "image" ? URL.createObjectURL(file) : "" });
        this.dock.notice("picture", "");
      } catch (error) {
        this.dock.notice("picture", `${file.name ? `${file.name}: ` : ""}${error.message} ${error.remedy ?? ""}`, "warning");
      }
    }
    this.#share();
    this.onchange();
  }

  #add(attachment) {
    this.#waiting = [...this.#waiting, attachment].slice(-MOST);
    announce(`${attachment.name || "Picture"} goes with your next message`);
    if (attachment.kind !== "image") return;
    const key = `picture:${attachment.ref}`;
    this.stage.show(key, "Picture", figure(attachment.url, attachment.name || "The picture you dropped"), () => this.stage.remove(key));
  }

  #remove(attachment) {
    this.#waiting = this.#waiting.filter((other) => other !== attachment);
    this.#share();
  }

  /** A spoken turn takes what is attached too, so the server is told at once. */
  #share() {
    this.line.send("Attach", { refs: this.refs });
    this.#show();
  }

  #show() {
    this.dock.chips.hidden = !this.#waiting.length;
    this.dock.chips.replaceChildren(
      ...this.#waiting.map((a) =>
        h("span", { class: "chip" }, a.url ? h("img", { src: a.url, alt: "" }) : null, a.name || "Picture",
          h("button", { class: "plain", "aria-label": `Remove ${a.name || "picture"}`, onclick: () => this.#remove(a) }, "×")),
      ),
    );
  }
}
