// The layers of the network, one after another, each as Keras computes it. Images lie row by row, channels last.

// Base64 of little-endian float32 as Float32Array.
function unpackWeights(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

// Class probabilities for one input, Float32Array(height * width * channels).
function runNet(model, weights, input) {
  let image = { height: model.input.height, width: model.input.width, channels: model.input.channels, values: input };
  for (const layer of model.layers) image = LAYERS[layer.kind](image, layer, weights);
  return image.values;
}

const LAYERS = {
  conv(image, layer, weights) {
    const [rows, columns] = layer.kernel, [down, across] = layer.strides;
    const { height, width, channels, values } = image, filters = layer.filters;
    const vertical = placesOf(height, rows, down, layer.padding);
    const horizontal = placesOf(width, columns, across, layer.padding);
    const kernel = weights.subarray(layer.weights, layer.weights + rows * columns * channels * filters);
    const bias = weights.subarray(layer.bias, layer.bias + filters);
    const out = new Float32Array(vertical.count * horizontal.count * filters);
    const sums = new Float64Array(filters);
    for (let i = 0, at = 0; i < vertical.count; i++) {
      for (let j = 0; j < horizontal.count; j++, at += filters) {
        sums.set(bias);
        for (let r = 0; r < rows; r++) {
          const y = i * down - vertical.before + r;
          if (y < 0 || y >= height) continue;
          for (let c = 0; c < columns; c++) {
            const x = j * across - horizontal.before + c;
            if (x < 0 || x >= width) continue;
            for (let k = 0; k < channels; k++) {
              const value = values[(y * width + x) * channels + k];
              if (value === 0) continue;
              const row = ((r * columns + c) * channels + k) * filters;
              for (let f = 0; f < filters; f++) sums[f] += value * kernel[row + f];
            }
          }
        }
        out.set(sums, at);
      }
    }
    return { height: vertical.count, width: horizontal.count, channels: filters, values: activate(out, layer) };
  },

  max_pool(image, layer) {
    const { height, width, channels, values } = image;
    const vertical = placesOf(height, layer.size[0], layer.strides[0], layer.padding);
    const horizontal = placesOf(width, layer.size[1], layer.strides[1], layer.padding);
    const out = new Float32Array(vertical.count * horizontal.count * channels).fill(-Infinity);
    for (let i = 0; i < vertical.count; i++) {
      for (let j = 0; j < horizontal.count; j++) {
        const top = i * layer.strides[0] - vertical.before, left = j * layer.strides[1] - horizontal.before;
        for (let y = Math.max(top, 0); y < Math.min(top + layer.size[0], height); y++) {
          for (let x = Math.max(left, 0); x < Math.min(left + layer.size[1], width); x++) {
            for (let k = 0; k < channels; k++) {
              const at = (i * horizontal.count + j) * channels + k;
              out[at] = Math.max(out[at], values[(y * width + x) * channels + k]);
            }
          }
        }
      }
    }
    return { height: vertical.count, width: horizontal.count, channels, values: out };
  },

  average(image) {
    const { channels, values } = image, sums = new Float64Array(channels);
    values.forEach((value, i) => { sums[i % channels] += value; });
    const n = image.height * image.width;
    return { height: 1, width: 1, channels, values: Float32Array.from(sums, (sum) => sum / n) };
  },

  flatten(image) {
    return { height: 1, width: 1, channels: image.values.length, values: image.values };
  },

  dense(image, layer, weights) {
    const sums = Float64Array.from(weights.subarray(layer.bias, layer.bias + layer.units));
    image.values.forEach((value, i) => {
      if (value === 0) return;
      const row = layer.weights + i * layer.units;
      for (let unit = 0; unit < layer.units; unit++) sums[unit] += value * weights[row + unit];
    });
    return { height: 1, width: 1, channels: layer.units, values: activate(Float32Array.from(sums), layer) };
  },

  rescale(image, layer) {
    return { ...image, values: image.values.map((value) => value * layer.scale + layer.offset) };
  },

  activation(image, layer) {
    return { ...image, values: activate(image.values.slice(), layer) };
  },
};

// How many results there are along a side, and how many rows of nothing stand before the first: TensorFlow's padding.
function placesOf(length, size, stride, padding) {
  if (padding === "valid") return { count: Math.floor((length - size) / stride) + 1, before: 0 };
  const count = Math.ceil(length / stride);
  return { count, before: Math.floor(Math.max((count - 1) * stride + size - length, 0) / 2) };
}

function activate(values, layer) {
  if (layer.activation === "relu") return values.map((value) => Math.max(value, 0));
  if (layer.activation !== "softmax") return values;
  const most = Math.max(...values), powers = Float64Array.from(values, (value) => Math.exp(value - most));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return Float32Array.from(powers, (power) => power / total);
}
