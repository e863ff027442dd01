// A pad to draw on with mouse, pen or finger, and what is shown beside it. The notebook's widget and the exported
// page share this file. Strokes are lists of points [x, y] from 0 to 1; see digitlib/handwriting/drawing_pad.py.

const SIDE = 112, BOX = 80, PEN = 10, SMALLEST = 0.05;
const PEN_ON_PAD = 0.06; // width of the pen that one sees, as a share of the pad

// Strokes as ink, Float64Array(112 * 112) from 0 (paper) to 1: the arithmetic of rasterize in drawing_pad.py.
function rasterize(strokes) {
  const ink = new Float64Array(SIDE * SIDE);
  const points = strokes.flat();
  if (points.length === 0) return ink;
  const middle = [0, 0];
  let extent = SMALLEST;
  for (const axis of [0, 1]) {
    let low = Infinity, high = -Infinity;
    for (const point of points) {
      low = Math.min(low, point[axis]);
      high = Math.max(high, point[axis]);
    }
    middle[axis] = (low + high) / 2;
    extent = Math.max(extent, high - low);
  }
  const scale = (BOX - PEN) / extent;
  for (const stroke of strokes) {
    const places = stroke.map((point) => [0, 1].map((axis) => (point[axis] - middle[axis]) * scale + SIDE / 2));
    for (let i = 0; i < Math.max(places.length - 1, 1) && places.length; i++) {
      drawLine(ink, places[i], places[Math.min(i + 1, places.length - 1)]);
    }
  }
  return ink;
}

// A straight line with round ends; a pixel at the edge is covered in part.
function drawLine(ink, start, end) {
  const reach = PEN / 2 + 1;
  const [left, top] = [0, 1].map((axis) => Math.max(0, Math.floor(Math.min(start[axis], end[axis]) - reach)));
  const [right, bottom] = [0, 1].map((axis) => Math.min(SIDE, Math.ceil(Math.max(start[axis], end[axis]) + reach)));
  const alongX = end[0] - start[0], alongY = end[1] - start[1];
  const length = alongX * alongX + alongY * alongY;
  for (let row = top; row < bottom; row++) {
    for (let column = left; column < right; column++) {
      const x = column + 0.5 - start[0], y = row + 0.5 - start[1];
      const share = length ? Math.min(Math.max((x * alongX + y * alongY) / length, 0), 1) : 0;
      const distance = Math.hypot(x - share * alongX, y - share * alongY);
      const covered = Math.min(Math.max(PEN / 2 + 0.5 - distance, 0), 1);
      ink[row * SIDE + column] = Math.max(ink[row * SIDE + column], covered);
    }
  }
}

// Put a pad into an element. `changed(strokes)` is called when a stroke has ended, or been taken back.
// The result has setStrokes(strokes, stored) and show(predictions, pixels): up to three {label, confidence}, and the
// network's input. A stored drawing is there to be looked at, and vanishes with the first stroke.
function buildPad(root, changed) {
  const add = (parent, tag, name, text = "") => {
    const element = parent.appendChild(document.createElement(tag));
    element.className = name;
    element.textContent = text;
    return element;
  };
  root.classList.add("digitpad");
  const left = add(root, "div", "digitpad-left"), right = add(root, "div", "digitpad-right");
  const canvas = add(left, "canvas", "digitpad-canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Pad to draw a digit on, with mouse, pen or finger");
  const buttons = add(left, "div", "digitpad-buttons");
  const undo = add(buttons, "button", "digitpad-undo", "Undo stroke");
  const clear = add(buttons, "button", "digitpad-clear", "Clear");
  const list = add(right, "div", "digitpad-predictions");
  list.setAttribute("aria-live", "polite");
  const seen = add(right, "figure", "digitpad-seen");
  const input = add(seen, "canvas", "digitpad-input");
  input.setAttribute("role", "img");
  input.setAttribute("aria-label", "The drawing as the network gets it");
  add(seen, "figcaption", "", "What the network sees");

  let strokes = [], pointer = null, isStored = false;
  const repaint = () => paint(canvas, strokes);
  const replace = (next, stored = false) => {
    strokes = next;
    pointer = null;
    isStored = stored;
    repaint();
    undo.disabled = clear.disabled = strokes.length === 0;
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (value, start, size) => Math.min(Math.max((value - start) / size, 0), 1);
    return [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    event.preventDefault();
    pointer = event.pointerId;
    canvas.setPointerCapture(pointer); // a stroke may leave the pad and come back
    strokes = [...(isStored ? [] : strokes), [place(event)]];
    isStored = false;
    repaint();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const between = event.getCoalescedEvents?.() ?? [];
    strokes[strokes.length - 1].push(...(between.length ? between : [event]).map(place));
    repaint();
  });
  const end = (event) => {
    if (event.pointerId !== pointer) return;
    replace(strokes);
    changed(strokes);
  };
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, end);
  const shorter = (length) => {
    replace(strokes.slice(0, length));
    changed(strokes);
  };
  undo.addEventListener("click", () => shorter(-1));
  clear.addEventListener("click", () => shorter(0));
  new ResizeObserver(repaint).observe(canvas);
  replace([]);
  return {
    setStrokes: replace,
    show: (predictions, pixels) => {
      showPredictions(list, predictions);
      showInput(input, pixels);
    },
  };
}

// Draw strokes as the person sees them, in as many pixels as the screen has.
function paint(canvas, strokes) {
  const side = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
  if (canvas.width !== side) canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, side, side);
  Object.assign(context, { lineWidth: PEN_ON_PAD * side, lineCap: "round", lineJoin: "round", strokeStyle: "#1a1a1a" });
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * side, y * side));
    if (stroke.length === 1) context.lineTo(stroke[0][0] * side, stroke[0][1] * side);
    context.stroke();
  }
}

function showPredictions(element, predictions) {
  element.replaceChildren();
  const line = (name, text) => {
    const made = element.appendChild(document.createElement("div"));
    made.className = name;
    made.textContent = text;
    return made;
  };
  line("digitpad-prediction", predictions.length ? predictions[0].label : "Draw a digit");
  for (const { label, confidence } of predictions) {
    const row = line("digitpad-row", "");
    const cells = ["label", "bar", "share"].map((name) => {
      const cell = row.appendChild(document.createElement("span"));
      cell.className = `digitpad-${name}`;
      return cell;
    });
    cells[0].textContent = label;
    cells[1].appendChild(document.createElement("span")).style.width = `${100 * confidence}%`;
    cells[2].textContent = `${(100 * confidence).toFixed(1)}%`;
  }
}

// Draw the network's input, Uint8Array(28 * 28) with 0 as black, or nothing.
function showInput(canvas, pixels) {
  canvas.width = canvas.height = 28;
  const context = canvas.getContext("2d");
  const image = context.createImageData(28, 28);
  for (let i = 0; i < 28 * 28; i++) {
    image.data.fill(pixels.length ? pixels[i] : 0, 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
