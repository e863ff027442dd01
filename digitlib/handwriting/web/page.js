// The exported page: the pad, the network, and a check that this browser computes as Keras does.

const NETWORK = JSON.parse(document.getElementById("network").textContent);
const WEIGHTS = unpackWeights(document.getElementById("weights").textContent);

// An image in MNIST's format, Uint8Array(28 * 28), as the network's input: its size, pixels of 0 to 255.
function inputOf(image) {
  const { height, width, channels, dark_on_light: darkOnLight } = NETWORK.input;
  const values = new Float32Array(height * width * channels);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const value = lookedUp(image, ((row + 0.5) * 28) / height - 0.5, ((column + 0.5) * 28) / width - 0.5, darkOnLight);
      values.fill(value, (row * width + column) * channels, (row * width + column + 1) * channels);
    }
  }
  return values;
}

// The value between pixels, bilinear; outside the outermost ones theirs, as digitlib resizes images.
function lookedUp(image, y, x, darkOnLight) {
  const inY = Math.min(Math.max(y, 0), 27), inX = Math.min(Math.max(x, 0), 27);
  const row = Math.min(Math.floor(inY), 26), column = Math.min(Math.floor(inX), 26);
  const at = (r, c) => (darkOnLight ? 255 - image[r * 28 + c] : image[r * 28 + c]);
  const across = (r) => at(r, column) + (at(r, column + 1) - at(r, column)) * (inX - column);
  return across(row) + (across(row + 1) - across(row)) * (inY - row);
}

// The drawing in MNIST's format, and its three most likely classes.
function imageOf(strokes) {
  return toMnistFormat(rasterize(strokes), SIDE);
}

function predictionsOf(image) {
  if (image.every((value) => value === 0)) return [];
  const shares = Array.from(runNet(NETWORK, WEIGHTS, inputOf(image)));
  const predictions = shares.map((confidence, i) => ({ label: NETWORK.class_names[i], confidence }));
  return predictions.sort((a, b) => b.confidence - a.confidence).slice(0, 3);
}

const PAD = buildPad(document.getElementById("pad"), (strokes) => {
  const image = imageOf(strokes);
  PAD.show(predictionsOf(image), image);
});
PAD.show([], new Uint8Array(0));

// Keras's own probabilities for a few made-up inputs are in the page: are they this browser's as well?
function largestDifference() {
  const { height, width, channels } = NETWORK.input;
  return Math.max(...NETWORK.check.flatMap((expected, k) => {
    const input = Float32Array.from({ length: height * width * channels }, (_, i) => (i * i * (k + 3) + 7 * i) % 256);
    return Array.from(runNet(NETWORK, WEIGHTS, input)).map((share, i) => Math.abs(share - expected[i]));
  }));
}

setTimeout(() => {
  const most = largestDifference();
  const agrees = most < 1e-4 ? "This browser computes what Keras computes" : "Beware: this browser does not compute what Keras computes";
  document.getElementById("check").textContent = `${agrees}: probabilities differ by at most ${most.toExponential(0)}.`;
}, 50);
