// MNIST's format, as to_mnist_format in mnist_format.py makes it: the same steps with the same numbers.

const MNIST_SIDE = 28, MNIST_BOX = 20, CENTRE = 14, FAINTEST = 0.05;

// Square ink, Float64Array(side * side) from 0 to 1, as Uint8Array(28 * 28); all 0 if there is none.
function toMnistFormat(ink, side) {
  const image = new Uint8Array(MNIST_SIDE * MNIST_SIDE);
  const strongest = ink.reduce((most, value) => Math.max(most, value), 0);
  if (strongest === 0) return image;
  const digit = sized(Float32Array.from(ink, (value) => (value < FAINTEST * strongest ? 0 : value)), side);
  const top = startOf(digit, "row"), left = startOf(digit, "column");
  const brightest = digit.values.reduce((most, value) => Math.max(most, value), 0);
  digit.values.forEach((value, i) => {
    const row = top + Math.floor(i / digit.width), column = left + (i % digit.width);
    image[row * MNIST_SIDE + column] = roundHalfEven((value / brightest) * 255);
  });
  return image;
}

// Cut out the ink and scale it so that its longer side is 20 pixels; the shorter side ends on a whole pixel.
function sized(ink, side) {
  let first = [side, side], last = [-1, -1];
  ink.forEach((value, i) => {
    if (value === 0) return;
    const place = [Math.floor(i / side), i % side];
    first = first.map((was, axis) => Math.min(was, place[axis]));
    last = last.map((was, axis) => Math.max(was, place[axis]));
  });
  const lengths = first.map((start, axis) => last[axis] - start + 1);
  const scale = MNIST_BOX / Math.max(...lengths);
  const [height, width] = lengths.map((length) => Math.min(MNIST_BOX, Math.ceil(length * scale - 1e-6)));
  const weights = [height, width].map((pixels, axis) => {
    const margin = (pixels / scale - lengths[axis]) / 2, around = Math.ceil(margin), size = lengths[axis] + 2 * around;
    const start = Math.max(around - margin, 0), end = Math.min(around - margin + pixels / scale, size);
    return { around, size, rows: hamming(start, end, pixels, size) };
  });
  const at = (row, column) => {
    const y = row - weights[0].around, x = column - weights[1].around;
    return y < 0 || x < 0 || y >= lengths[0] || x >= lengths[1] ? 0 : ink[(first[0] + y) * side + first[1] + x];
  };
  const narrow = new Float32Array(weights[0].size * width);
  for (let row = 0; row < weights[0].size; row++) {
    weights[1].rows.forEach(({ from, shares }, column) => {
      narrow[row * width + column] = shares.reduce((sum, share, k) => sum + share * at(row, from + k), 0);
    });
  }
  const values = new Float32Array(height * width);
  weights[0].rows.forEach(({ from, shares }, row) => {
    for (let column = 0; column < width; column++) {
      const sum = shares.reduce((total, share, k) => total + share * narrow[(from + k) * width + column], 0);
      values[row * width + column] = Math.max(sum, 0);
    }
  });
  return { values, width, height };
}

// What each of `pixels` results takes of the source from `start` to `end`: Pillow's resampling with Hamming's window.
function hamming(start, end, pixels, size) {
  const scale = (end - start) / pixels, reach = Math.max(scale, 1);
  return Array.from({ length: pixels }, (_, i) => {
    const centre = start + (i + 0.5) * scale;
    const from = Math.max(0, Math.trunc(centre - reach + 0.5));
    const to = Math.min(size, Math.trunc(centre + reach + 0.5));
    const shares = Array.from({ length: to - from }, (_, k) => hammingAt((from + k - centre + 0.5) / reach));
    const total = shares.reduce((sum, share) => sum + share, 0);
    return { from, shares: shares.map((share) => share / total) };
  });
}

function hammingAt(x) {
  if (x === 0) return 1;
  if (Math.abs(x) >= 1) return 0;
  return (Math.sin(Math.PI * x) / (Math.PI * x)) * (0.54 + 0.46 * Math.cos(Math.PI * x));
}

// Where a digit begins along one side, its centre of mass in the middle unless that would cut it off.
function startOf(digit, along) {
  let mass = 0, moment = 0;
  digit.values.forEach((value, i) => {
    mass += value;
    moment += value * (along === "row" ? Math.floor(i / digit.width) : i % digit.width);
  });
  const length = along === "row" ? digit.height : digit.width;
  return Math.min(Math.max(roundHalfEven(CENTRE - moment / mass), 0), MNIST_SIDE - length);
}

// Round as Python does: a half to the even neighbour.
function roundHalfEven(value) {
  const below = Math.floor(value), rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}
