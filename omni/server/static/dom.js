// Small helpers to build elements. Text is always set as text, never as markup.

/** An element: `h("button", {class: "plain", onclick}, "Stop")`. Children may be strings, nodes, null or arrays. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string" && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name === "class" ? "class" : name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  mic: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM6 11a6 6 0 0 0 12 0M12 17v4M9 21h6",
  muted: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3zM6 11a6 6 0 0 0 12 0M12 17v4M9 21h6M4 4l16 16",
  stop: "M7 7h10v10H7z",
  camera: "M4 7h11v10H4zM15 10l5-3v10l-5-3",
  screen: "M3 5h18v11H3zM9 20h6M12 16v4",
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15 9h.01",
  send: "M5 12h13M12 6l6 6-6 6",
  talk: "M4 5h16v11H9l-5 4z",
  history: "M12 7v5l3 2M4 12a8 8 0 1 0 3-6.2M4 4v4h4",
  models: "M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9",
  plugins: "M9 3v5M15 3v5M6 8h12v4a6 6 0 0 1-12 0zM12 18v3",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
  cards: "M5 4h14v16H5zM8 15l3-4 2 2 3-5",
  theme: "M12 4a8 8 0 1 0 0 16z M12 4a8 8 0 0 1 0 16",
  panel: "M4 5h16v14H4zM9 5v14",
};

/** One of the page's own icons. */
export function icon(name) {
  return drawing(PATHS[name] ?? PATHS.panel);
}

function drawing(path) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  const shape = document.createElementNS(space, "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

/** A plugin's icon, given as inline SVG: only its shapes are taken, no script, no style, no reference. */
export function foreignIcon(source) {
  const parsed = source && new DOMParser().parseFromString(source, "image/svg+xml");
  const paths = parsed ? [...parsed.querySelectorAll("path[d]")].map((path) => path.getAttribute("d")) : [];
  return drawing(paths.length ? paths.join(" ") : PATHS.panel);
}

export const bytes = (count) =>
  count >= 1e9 ? `${(count / 1e9).toFixed(1)} GB` : count >= 1e6 ? `${Math.round(count / 1e6)} MB` : `${Math.ceil(count / 1e3)} kB`;

export const seconds = (value) =>
  value >= 90 ? `${Math.round(value / 60)} min` : value >= 10 ? `${Math.round(value)} s` : `${value.toFixed(2)} s`;

export const when = (unix) =>
  new Date(unix * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });

/** Say something to a screen reader, without showing it. */
export function announce(text) {
  const live = document.getElementById("live");
  live.append(h("p", {}, text));
  while (live.childElementCount > 3) live.firstElementChild.remove();
}

/** A problem, where it happened: what, and what to do. */
export function problem(error) {
  return h("p", { class: "problem", role: "alert" }, error.message, error.remedy ? h("span", { class: "remedy" }, ` ${error.remedy}`) : null);
}
