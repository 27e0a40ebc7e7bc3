// The page: what the parts are and how they hear of each other.

import { get, post } from "./api.js";
import { Attachments } from "./attachments.js";
import { announce, foreignIcon, h, icon, problem } from "./dom.js";
import { Dock } from "./dock.js";
import { Eye } from "./eyes.js";
import { Line } from "./line.js";
import { Microphone } from "./microphone.js";
import { Panels } from "./panels.js";
import { Speaker } from "./speaker.js";
import "./stage.js";
import { Talk } from "./talk.js";

const VIEWS = { history: "History", models: "Models", plugins: "Plugins", cards: "Claims", settings: "Settings" };
const $ = (id) => document.getElementById(id);

const line = new Line();
const stage = $("stage");
const talk = new Talk({ line, list: $("turns"), thread: $("thread"), media: (ref) => `/api/media/${line.session}/${encodeURIComponent(ref)}` });
const speaker = new Speaker({
  onplayed: (report) => line.played(report),
  onspeaking: () => showState(),
});
const microphone = new Microphone({
  onframe: (seq, pcm) => line.sound(seq, pcm),
  onlevel: (level) => dock.level(level),
  onlost: () => {
    dock.microphone("off");
    dock.notice("microphone", "The microphone went away. Plug it in and press Start.", "warning");
    showState();
  },
});
const eyes = Object.fromEntries(
  ["camera", "screen"].map((source) => [source, new Eye(source, { onpicture: (from, jpeg) => line.picture(from, jpeg), onend: () => eyeOff(source) })]),
);
const dock = new Dock($("dock"), { act, say });
const panels = new Panels({ line, stage, say });
const attachments = new Attachments({ line, stage, dock, onchange: () => greet() });
let hearing = false;
let thinking = new Set();

// -- what a person does ------------------------------------------------------------------------

const ACTIONS = { mic: toggleMicrophone, camera: () => toggleEye("camera"), screen: () => toggleEye("screen"), picture: () => dock.file.click(), stop };

function act(name) {
  ACTIONS[name]?.();
}

async function toggleMicrophone() {
  speaker.unlock();
  if (microphone.live) {
    microphone.muted = !microphone.muted;
    line.send("MicMuted", { muted: microphone.muted });
    dock.microphone(microphone.muted ? "muted" : "on");
    announce(microphone.muted ? "Microphone muted" : "Microphone on");
  } else {
    try {
      await microphone.open();
      microphone.muted = false;
      line.send("MicMuted", { muted: false });
      dock.microphone("on");
      dock.notice("microphone", "");
      announce("Listening");
    } catch (error) {
      dock.notice("microphone", `${error.message} ${error.remedy}`, "error");
    }
  }
  location.hash = location.hash.startsWith("#/") ? "#/" : location.hash;
  showState();
  greet();
}

function say(text) {
  speaker.unlock();
  line.send("Say", { text, attachments: attachments.refs });
  attachments.clear();
  if (location.hash.startsWith("#/") && location.hash !== "#/") location.hash = "#/";
}

function stop() {
  if (speaker.speaking !== null) speaker.flush(speaker.speaking); // silence first; the server hears of it next
  line.sendNow("BargeIn");
}

async function toggleEye(source) {
  const eye = eyes[source];
  if (eye.on) {
    eye.stop();
    eyeOff(source);
    return;
  }
  try {
    await eye.start();
    dock.eye(source, true);
    dock.notice(source, "");
    stage.show(source, source === "camera" ? "Camera" : "Screen", eye.video, () => toggleEye(source));
    announce(`Omni sees your ${source}`);
  } catch (error) {
    dock.notice(source, `${error.message} ${error.remedy}`, "warning");
  }
  greet();
}

function eyeOff(source) {
  dock.eye(source, false);
  stage.remove(source);
}

for (const type of ["pointerdown", "keydown"]) document.addEventListener(type, () => speaker.unlock(), { once: true });

// -- what Omni does ------------------------------------------------------------------------------

line.on("voice", (piece) => {
  speaker.play(piece);
  if (speaker.blocked) dock.notice("sound", "The browser plays nothing before you click or press a key on this page.", "info");
});
line.on("AudioFlush", (m) => speaker.flush(m.turn ?? 0));
line.on("AudioHold", (m) => speaker.hold(m.held));
line.on("SpeechStarted", () => { hearing = true; showState(); });
for (const type of ["SpeechPaused", "TurnDropped", "TurnCommitted"]) line.on(type, () => { hearing = false; showState(); });
line.on("TurnCommitted", (m) => {
  thinking.add(m.turn ?? 0);
  attachments.clear();
  greet();
  showState();
});
line.on("ReplyFinished", (m) => { thinking.delete(m.turn ?? 0); showState(); });
line.on("Spoken", (m) => { if (m.final) thinking.delete(m.turn ?? 0); showState(); });
line.on("Notice", (m) => m.topic !== "answer" && dock.notice(m.topic, m.text, m.level ?? "info"));
line.on("Error", (m) => (m.code === "rate" || m.code === "not_opened") && dock.notice("line", `${m.message} ${m.remedy}`, "error"));
line.on("PluginChanged", () => panels.refresh().then(showRail).catch(() => {}));
line.on("SessionClosed", () => dock.notice("session", "This conversation was closed. Reload the page for a new one.", "info"));
line.on("up", (welcome) => {
  dock.notice("line", "");
  if (!welcome.resumed) {
    thinking = new Set();
    speaker.reset();
    dock.clearNotices();
    for (const n of welcome.notices ?? []) dock.notice(n.topic, n.text, n.level);
    talk.restore(welcome);
    attachments.clear();
    if (microphone.live) line.send("MicMuted", { muted: microphone.muted });
    line.send("Settings", { values: ownSettings() });
  }
  showState();
  greet();
  panels.refresh().then(showRail).catch(() => {});
});
line.on("down", async ({ tries }) => {
  showState();
  if (tries === 1) return;
  dock.notice("line", "The line to Omni is down. Trying again; what you said is kept.", "warning");
  const refusal = await get("/api/status").then(() => null, (error) => error);
  if (refusal?.status === 401) locked(refusal);
});
line.on("ended", () => {
  dock.notice("line", "This conversation goes on in another tab. Reload the page to bring it back here.", "info");
  showState();
});
line.silent = () => speaker.speaking === null;

/** What this browser wants of every session (the settings page's own part). */
function ownSettings() {
  const stored = (key) => localStorage.getItem(`omni.${key}`);
  return { voice: stored("voice") !== "off", speed: Number(stored("speed") ?? 1), off_the_record: stored("off_the_record") === "on" };
}

function showState() {
  const text = !line.open
    ? "Connecting"
    : speaker.speaking !== null
      ? "Speaking. Talk over me any time."
      : hearing
        ? "Hearing you"
        : thinking.size
          ? "Thinking"
          : microphone.live
            ? microphone.muted
              ? "Muted"
              : "Listening"
            : "Ready";
  if ($("state").textContent !== text) $("state").textContent = text;
  document.body.dataset.state = text.split(/[ .]/)[0].toLowerCase();
  dock.stoppable(speaker.speaking !== null || thinking.size > 0);
}

// -- pages -----------------------------------------------------------------------------------------

/** What an empty conversation teaches. */
function greet() {
  const start = microphone.live
    ? h("p", { class: "big" }, "I am listening. Just speak.")
    : h("button", { class: "primary start", onclick: toggleMicrophone }, icon("mic"), "Start");
  const say = (text) => h("button", { class: "suggestion", onclick: () => window.omniPage.say(text) }, text);
  $("welcome").hidden = !talk.empty;
  $("welcome").replaceChildren(
    h("h1", {}, "Talk to me"),
    h("p", {}, "Press Start and speak. Interrupt me whenever you like. Nothing leaves this machine."),
    start,
    h("p", { class: "quiet" }, "Or type below, drop a picture here, or show me your screen and ask what is on it."),
    h("div", { class: "suggestions" }, say("What can you do?"), say("What is 18 percent of 64.50?"), say("What is on my screen?")),
  );
}

function showRail() {
  const here = location.hash.split("/")[1] || "talk";
  const item = (key, label, picture, onclick, current) =>
    h("li", {}, h("a", { href: `#/${key === "talk" ? "" : key}`, class: "item", "aria-current": current ? "page" : null, onclick }, picture, h("span", {}, label)));
  const openPanel = (id) => (event) => {
    event.preventDefault();
    location.hash = "#/";
    closeMenu();
    panels.open(id);
  };
  $("rail").replaceChildren(
    h("ul", {}, item("talk", "Talk", icon("talk"), null, here === "talk"),
      panels.known.map((p) => item(`panel/${p.id}`, p.title, foreignIcon(p.icon), openPanel(p.id), stage.shown === `panel:${p.id}` && here === "talk"))),
    h("ul", {}, Object.entries(VIEWS).map(([key, label]) => item(key, label, icon(key), null, here === key)),
      h("li", {}, h("button", { class: "item", "aria-label": "Light or dark", onclick: toggleTheme }, icon("theme"), h("span", {}, "Theme")))),
  );
}
stage.addEventListener("change", showRail);

async function route() {
  const view = location.hash.split("/")[1] || "";
  closeMenu();
  showRail();
  const page = $("page");
  const other = view in VIEWS;
  $("talk").hidden = other;
  page.hidden = !other;
  document.title = other ? `${VIEWS[view]} · Omni` : "Omni";
  if (!other) return;
  page.setAttribute("aria-label", VIEWS[view]);
  page.replaceChildren(h("h1", {}, VIEWS[view]), h("p", { class: "quiet" }, "Loading"));
  const body = h("div", { class: "view" });
  try {
    const { render } = await import(`./views/${view}.js`);
    await render(body, { line, microphone, speaker, dock, go: (hash) => (location.hash = hash) });
  } catch (error) {
    body.replaceChildren(problem(error));
  }
  if (location.hash.split("/")[1] === view) page.replaceChildren(h("h1", { tabindex: "-1" }, VIEWS[view]), body);
  page.querySelector("h1").focus({ preventScroll: true });
}

function closeMenu() {
  document.body.classList.remove("menu");
  $("menu").setAttribute("aria-expanded", "false");
}
$("menu").addEventListener("click", () => {
  const open = document.body.classList.toggle("menu");
  $("menu").setAttribute("aria-expanded", String(open));
  if (open) $("rail").querySelector("a").focus();
});

function theme(name) {
  if (name) document.documentElement.dataset.theme = name;
  else delete document.documentElement.dataset.theme;
}
function toggleTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  localStorage.setItem("omni.theme", dark ? "light" : "dark");
  theme(dark ? "light" : "dark");
}

/** Without this run's key nothing works: say so, and how to get in. */
function locked(error) {
  $("thread").replaceChildren(h("div", { class: "locked" }, h("h1", {}, "This page needs the key of this run"), problem(error),
    h("p", {}, "Omni printed an address when it started, like ", h("code", {}, `${location.origin}/#token=…`), ". Open that whole address.")));
  $("dock").hidden = true;
  $("state").textContent = "Locked";
}

async function enter() {
  theme(localStorage.getItem("omni.theme"));
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? new URLSearchParams(location.search).get("token");
  if (token) {
    history.replaceState(null, "", "/#/");
    await post("/api/enter", { token });
  }
  await panels.refresh();
}

window.omniPage = { line, speaker, microphone, stage, panels, dock, say, act };
window.addEventListener("hashchange", route);
dock.microphone("off");
showRail();
enter().then(
  () => {
    line.connect();
    showRail();
    greet();
    route();
  },
  (error) => (error.status === 401 || error.status === 403 ? locked(error) : (line.connect(), dock.notice("line", `${error.message} ${error.remedy}`, "error"))),
);
