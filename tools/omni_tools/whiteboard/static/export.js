// The board as a file that stands alone: colours are written out, nothing refers to the page.

const SVG = "http://www.w3.org/2000/svg";
const LIGHT = { ink: "#1e1d1a", accent: "#0e6a5b", muted: "#625e55", good: "#18794e", warn: "#8a4b00" };
const FONT = "system-ui, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', sans-serif";
const SHARPNESS = 2;

/** An SVG file, light, whatever the page's theme. */
export async function exportSvg(board) {
  return new Blob([source(board)], { type: "image/svg+xml" });
}

/** A PNG file of twice the board's size, at most 8000 pixels high. */
export async function exportPng(board) {
  const image = new Image();
  const scale = Math.min(SHARPNESS, 8000 / board.height);
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(source(board))}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.round(board.width * scale), height: Math.round(board.height * scale) });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
  if (!blob) throw new Error("this browser does not allow it. Save it as SVG.");
  return blob;
}

function source(board) {
  const copy = board.svg.cloneNode(true);
  copy.setAttribute("width", board.width.toFixed(0));
  copy.setAttribute("height", board.height.toFixed(0));
  for (const element of copy.querySelectorAll(".appearing")) element.classList.remove("appearing");
  const style = document.createElementNS(SVG, "style");
  style.textContent = css();
  const ground = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries({ width: "100%", height: "100%", fill: "#ffffff" })) ground.setAttribute(name, value);
  copy.prepend(style, ground);
  return new XMLSerializer().serializeToString(copy);
}

function css() {
  const tints = Object.entries(LIGHT).map(([name, colour]) => `.tint-${name}{--tint:${colour};color:${colour}}`);
  return [
    `svg{font-family:${FONT}}`, ...tints,
    "text,.filled{fill:var(--tint)}", ".line{fill:none;stroke:var(--tint);stroke-linecap:round;stroke-linejoin:round}",
    `.axis{stroke:${LIGHT.muted};stroke-width:1.5}`, ".mark{fill:#dcefea}",
    ".formula{height:100%;display:flex;align-items:center;white-space:nowrap;color:inherit}",
  ].join("\n");
}
