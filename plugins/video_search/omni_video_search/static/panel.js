// <omni-video-search>: ask for a moment, see why it fits, watch it from that second on.

import { h, problem } from "/static/dom.js";

const LANES = [["hits", "found"], ["cuts", "cuts"], ["speech", "speech"], ["screen", "text"], ["sound", "sound"]];
const QUIET = new Set(["speech", "silence"]);

const clock = (seconds) => {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((n) => String(n).padStart(2, "0"));
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${parts.join(":")}` : `${Number(parts[0])}:${parts[1]}`;
};

class VideoSearch extends HTMLElement {
  omni = null; // set by the page
  #videos = [];
  #moments = [];
  #timeline = null;
  #asked = 0;
  #waiting = 0;

  async connectedCallback() {
    if (this.firstChild) return;
    if (!document.querySelector("link[data-video-search]")) {
      document.head.append(h("link", { rel: "stylesheet", href: this.omni.static("panel.css"), "data-video-search": true }));
    }
    try {
      const { videos, problems } = await this.omni.call("list");
      this.#videos = videos;
      if (videos.length) this.#build(problems);
      else this.#teach(problems);
    } catch (error) {
      this.append(problem(error));
    }
  }

  #teach(problems) {
    this.append(h("div", { class: "empty" },
      h("strong", {}, "Find the moment in your videos"),
      h("p", {}, "In a terminal: ", h("code", {}, "omni video index ~/Videos")),
      h("p", {}, "Then ask here or aloud: ", h("em", {}, "the part where she talks about bees while a map is shown")),
      problems.length ? h("p", {}, `${problems.length} files could not be indexed: `, h("code", {}, "omni video problems")) : null));
  }

  #build(problems) {
    this.#field = h("input", { type: "search", placeholder: "What is said, shown, written or heard in the moment?", "aria-label": "Describe the moment", autocomplete: "off" });
    this.#field.addEventListener("input", () => {
      clearTimeout(this.#waiting);
      this.#waiting = setTimeout(() => this.#search(), 250);
    });
    this.#video = h("video", { controls: true, preload: "metadata", playsInline: true });
    this.#video.addEventListener("timeupdate", () => this.#mark());
    this.#video.addEventListener("error", () => this.#say("Your browser can't play this file. Its moments are right all the same."));
    this.#title = h("h3");
    this.#lanes = h("div", { class: "lanes", onclick: (event) => this.#jumpTo(event) });
    this.#note = h("p", { class: "note", role: "status" });
    this.#list = h("ol", { "aria-label": "Moments" });
    this.#said = h("ol", { class: "said", "aria-label": "Transcript" });
    const hours = this.#videos.reduce((sum, v) => sum + v.duration, 0);
    this.append(
      h("form", { onsubmit: (event) => { event.preventDefault(); this.#search(); } }, this.#field),
      h("p", { class: "lead" }, `${this.#videos.length} video${this.#videos.length === 1 ? "" : "s"}, ${clock(hours)}`, problems.length ? `; ${problems.length} with problems (omni video problems)` : ""),
      h("div", { class: "watch" }, h("div", { class: "frame" }, this.#video), this.#title, this.#lanes, this.#note),
      h("div", { class: "side" }, this.#list, this.#said),
    );
    this.#library();
    this.#open(this.#videos[0].digest, 0, false);
  }

  /** Without a question: the videos themselves. */
  #library() {
    this.#moments = [];
    this.#list.replaceChildren(...this.#videos.map((v) => this.#row(v.digest, v.duration / 3, v.name, [clock(v.duration)], () => this.#open(v.digest, 0, false))));
    this.#draw();
  }

  #row(digest, at, title, lines, onclick) {
    return h("li", {}, h("button", { type: "button", onclick },
      h("img", { src: this.omni.media(`frame/${digest}/${at.toFixed(2)}`), alt: "", loading: "lazy" }),
      h("span", { class: "what" }, h("b", {}, title), lines.map((line) => h("small", {}, line)))));
  }

  async #search() {
    const query = this.#field.value.trim();
    const number = ++this.#asked;
    this.#say("");
    if (!query) return this.#library();
    try {
      const { moments } = await this.omni.call("search", { query });
      if (number !== this.#asked) return undefined;
      this.#moments = moments;
      this.#list.replaceChildren(...moments.map((m, i) => this.#row(m.digest, m.evidence[0]?.at ?? m.start,
        `${clock(m.start)} – ${clock(m.end)}  ${m.name}`,
        m.evidence.slice(0, 3).map((e) => `${e.stream}: ${e.text || "looks like it"}`), () => this.#choose(i))));
      if (moments.length) this.#choose(0, false);
      else { this.#say("Nothing in the videos fits that."); this.#draw(); }
    } catch (error) {
      if (number === this.#asked) this.#list.replaceChildren(h("li", {}, problem(error)));
    }
    return undefined;
  }

  #choose(i, play = true) {
    const moment = this.#moments[i];
    [...this.#list.querySelectorAll("button")].forEach((button, k) => button.setAttribute("aria-current", String(k === i)));
    return this.#open(moment.digest, moment.start, play);
  }

  async #open(digest, at, play) {
    if (this.#timeline?.digest !== digest) {
      try {
        this.#timeline = await this.omni.call("timeline", { digest });
      } catch (error) {
        return this.#say(`${error.message} ${error.remedy ?? ""}`);
      }
      this.#video.src = this.omni.media(`video/${digest}`);
      this.#title.textContent = this.#timeline.name;
      const said = this.#timeline.entries.filter((e) => e.stream === "speech");
      this.#said.replaceChildren(...said.map((e) => h("li", {}, h("button", { type: "button", onclick: () => this.#seek(e.start, true) }, h("time", {}, clock(e.start)), h("span", {}, e.text)))));
    }
    this.#draw();
    return this.#seek(at, play);
  }

  #seek(at, play) {
    const go = () => {
      this.#video.currentTime = at;
      if (play) this.#video.play().catch(() => {});
    };
    if (this.#video.readyState >= 1) go();
    else this.#video.addEventListener("loadedmetadata", go, { once: true });
    this.#mark(at);
  }

  #draw() {
    const t = this.#timeline;
    if (!t) return;
    const spans = { hits: this.#moments.filter((m) => m.digest === t.digest), cuts: [], speech: [], screen: [], sound: [] };
    for (const e of t.entries) {
      if (e.stream === "cut" || e.stream === "fade") spans.cuts.push(e);
      else if (e.stream === "sound" ? !QUIET.has(e.label) : e.stream in spans) spans[e.stream].push(e);
    }
    this.#now = h("div", { class: "now" });
    this.#lanes.replaceChildren(...LANES.map(([key, name]) => h("div", { class: `lane ${key}` }, h("span", {}, name), spans[key].map((e) => this.#block(key, e, t.duration)))));
    this.#lanes.append(h("div", { class: "needle" }, this.#now));
    this.#mark();
  }

  #block(key, e, duration) {
    const block = h("i", { title: `${clock(e.start)}  ${e.text || e.label || e.stream || "found"}`, class: e.stream === "fade" ? "fade" : "" });
    block.style.left = `${(100 * e.start) / duration}%`;
    if (key !== "cuts" || e.stream === "fade") block.style.width = `${Math.max(0, (100 * (Math.min(e.end, duration) - e.start)) / duration)}%`;
    return block;
  }

  #mark(at = this.#video.currentTime) {
    if (!this.#now || !this.#timeline) return;
    this.#now.style.left = `${(100 * Math.min(at, this.#timeline.duration)) / this.#timeline.duration}%`;
    const said = this.#timeline.entries.filter((e) => e.stream === "speech");
    [...this.#said.querySelectorAll("button")].forEach((button, i) => button.setAttribute("aria-current", String(said[i] && said[i].start <= at && at < said[i].end)));
  }

  #jumpTo(event) {
    const lane = this.#lanes.firstChild.getBoundingClientRect();
    const share = (event.clientX - lane.left) / lane.width;
    if (share >= 0 && share <= 1) this.#seek(share * this.#timeline.duration, true);
  }

  #say(text) {
    this.#note.textContent = text;
  }

  #field; #video; #title; #lanes; #note; #list; #said; #now;
}

customElements.define("omni-video-search", VideoSearch);
