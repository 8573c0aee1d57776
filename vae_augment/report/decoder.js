// The decoders of a bank's classes, in a page: the images that `ConvVAE.decode` of vae_augment/model/conv_vae.py gives.
//
//   const vae = new VAEDecoder(payload); // made by vae_augment/report/decoder_payload.py
//   const pixels = vae.decode(row, z);   // row: a class's place in the payload; z: L numbers
//   vae.paint(pixels, canvas);
//
// Shapes: C H W image, L latent, F features, P places of the grid so far. All arrays are flat, the last axis first to
// count: h [channels, P] holds channel c of place p at c * P + p.
const VAEDecoder = (() => {
  "use strict";

  const NORM_GROUPS = 8;
  const EPSILON = 1e-5; // of a group's variance, as in torch
  const OVERLAP = 1; // pixels by which a patch reaches into its neighbours
  const KEPT = 4; // classes whose weights stay expanded, those used last

  const sigmoid = (x) => 1 / (1 + Math.exp(-x));

  function bytesOf(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  // Numbers of half precision: a bit of sign, five of exponent, ten of fraction. A bank holds none that is not finite.
  function halves(base64) {
    const bytes = bytesOf(base64);
    const numbers = new Float32Array(bytes.length / 2);
    for (let i = 0; i < numbers.length; i++) {
      const bits = bytes[2 * i] | (bytes[2 * i + 1] << 8);
      const exponent = (bits >> 10) & 31;
      const fraction = bits & 1023;
      const size = exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24;
      numbers[i] = bits & 0x8000 ? -size : size;
    }
    return numbers;
  }

  function singles(base64) {
    const view = new DataView(bytesOf(base64).buffer);
    return Float32Array.from({ length: view.byteLength / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  function silu(h) {
    for (let i = 0; i < h.length; i++) h[i] *= sigmoid(h[i]);
  }

  // h [I, P] by weight [O, I] and bias [O] to [O, P].
  function pointwise(h, weight, bias) {
    const outputs = bias.length;
    const inputs = weight.length / outputs;
    const places = h.length / inputs;
    const out = new Float32Array(outputs * places);
    for (let o = 0; o < outputs; o++) {
      const row = out.subarray(o * places, (o + 1) * places).fill(bias[o]);
      for (let i = 0; i < inputs; i++) {
        const w = weight[o * inputs + i];
        for (let p = 0, from = i * places; p < places; p++) row[p] += w * h[from + p];
      }
    }
    return out;
  }

  // GroupNorm of h [channels, P], in place.
  function groupNorm(h, weight, bias) {
    const channels = weight.length;
    const places = h.length / channels;
    const size = h.length / NORM_GROUPS;
    for (let first = 0; first < h.length; first += size) {
      let mean = 0;
      for (let i = first; i < first + size; i++) mean += h[i] / size;
      let variance = 0;
      for (let i = first; i < first + size; i++) variance += (h[i] - mean) ** 2 / size;
      const scale = 1 / Math.sqrt(variance + EPSILON);
      for (let i = first; i < first + size; i++) {
        const c = Math.floor(i / places);
        h[i] = (h[i] - mean) * scale * weight[c] + bias[c];
      }
    }
  }

  // For each row and column in a patch and each place, [side * side, P], the pixel of [H * W] that the patch's value
  // adds to; -1: none, it is cropped. Places are counted as `pixels_of_patches` says: by block of each stage, the last
  // first, and then by the coarsest grid, so that a stage's [4 * channels, P] is [channels, 4 * P] as it lies.
  function pixelsOfPatches({ image_shape: [, height, width], patch, stages, grid, padding: [left, , top] }) {
    let rows = [];
    let columns = [];
    for (let y = 0; y < grid[0]; y++) {
      for (let x = 0; x < grid[1]; x++) {
        rows.push(y);
        columns.push(x);
      }
    }
    for (let stage = 0; stage < stages; stage++) {
      rows = [0, 0, 1, 1].flatMap((down) => rows.map((y) => 2 * y + down));
      columns = [0, 1, 0, 1].flatMap((right) => columns.map((x) => 2 * x + right));
    }
    const side = patch + 2 * OVERLAP;
    const pixels = new Int32Array(side * side * rows.length).fill(-1);
    for (let value = 0, i = 0; value < side * side; value++) {
      for (let place = 0; place < rows.length; place++, i++) {
        const y = rows[place] * patch - top + Math.floor(value / side) - OVERLAP;
        const x = columns[place] * patch - left + (value % side) - OVERLAP;
        if (y >= 0 && y < height && x >= 0 && x < width) pixels[i] = y * width + x;
      }
    }
    return pixels;
  }

  return class VAEDecoder {
    constructor(payload) {
      this.shape = payload.image_shape; // [C, H, W]
      this.latentDim = payload.latent_dim;
      this.payload = payload;
      this.raising = payload.raising.map(singles);
      this.pixels = pixelsOfPatches(payload);
      this.bases = new Map(); // of the starts that were used, their numbers
      this.classes = new Map(); // of the classes used last, weights by name; the oldest first
    }

    // The image of z, L numbers, by the decoder of a class: Float32Array [C * H * W] in [0, 1].
    decode(row, z) {
      const weights = this.weightsOf(row);
      if (z.length !== this.latentDim) {
        throw new RangeError(`z must have ${this.latentDim} numbers, got ${z.length}.`);
      }
      let h = weights["in.bias"].slice(); // [F]
      for (let l = 0; l < z.length; l++) {
        for (let f = 0, from = l * h.length; f < h.length; f++) h[f] += z[l] * weights["in.weight"][from + f];
      }
      silu(h); // [channels, P]
      for (let i = this.payload.stages - 1; i >= 0; i--) {
        h = pointwise(h, weights[`${i}.weight`], weights[`${i}.bias`]); // [4 * channels, P], or [channels, 4 * P]
        groupNorm(h, weights[`${i}.norm.weight`], weights[`${i}.norm.bias`]);
        silu(h);
      }
      return this.overlapped(h, weights["patch.weight"], weights["patch.bias"], this.raised(weights, z));
    }

    // Logits of the components of z, of a reduced image that is raised to [C * H * W]; none: zeros.
    raised(weights, z) {
      const [channels, height, width] = this.shape;
      const image = new Float32Array(channels * height * width);
      if (!("components.weight" in weights)) return image;
      const coarse = weights["components.bias"].slice(); // [C * h * w]
      const first = weights["components.weight"].length / coarse.length; // of the latent dimensions
      for (let l = 0; l < first; l++) {
        for (let i = 0, from = l * coarse.length; i < coarse.length; i++) {
          coarse[i] += z[l] * weights["components.weight"][from + i];
        }
      }
      const [rows, columns] = this.raising; // [H, h] and [W, w]
      const [down, right] = [rows.length / height, columns.length / width];
      for (let c = 0; c < channels; c++) {
        for (let y = 0; y < height; y++) {
          for (let j = 0; j < right; j++) {
            let value = 0; // of row y and a coarse column
            for (let i = 0; i < down; i++) value += rows[y * down + i] * coarse[(c * down + i) * right + j];
            for (let x = 0, at = (c * height + y) * width; x < width; x++, at++) {
              image[at] += columns[x * right + j] * value;
            }
          }
        }
      }
      return image;
    }

    // The patches of h [I, P], by weight [I, V] for the V values of a patch, added up where they overlap, and to logits.
    overlapped(h, weight, bias, image) {
      const [channels, height, width] = this.shape;
      const values = weight.length / this.payload.width;
      const places = h.length / this.payload.width;
      const sums = new Float32Array(places);
      for (let v = 0; v < values; v++) {
        sums.fill(0);
        for (let i = 0; i < this.payload.width; i++) {
          const w = weight[i * values + v];
          for (let p = 0, from = i * places; p < places; p++) sums[p] += w * h[from + p];
        }
        const inPatch = v % (values / channels);
        const plane = Math.floor(v / (values / channels)) * height * width;
        for (let p = 0, at = inPatch * places; p < places; p++, at++) {
          if (this.pixels[at] >= 0) image[plane + this.pixels[at]] += sums[p];
        }
      }
      return image.map((sum, i) => sigmoid(sum + bias[Math.floor(i / (height * width))]));
    }

    // A class's weights by name.
    weightsOf(row) {
      const known = this.classes.get(row) || this.expanded(row);
      this.classes.delete(row);
      this.classes.set(row, known);
      if (this.classes.size > KEPT) this.classes.delete(this.classes.keys().next().value);
      return known;
    }

    // A class is kept as differences from a start, a byte each, in steps of its tensor's own; or else as it is.
    expanded(row) {
      const { tensors, classes, bases } = this.payload;
      const stored = classes[row];
      if (!stored) throw new RangeError(`row must be a whole number below ${classes.length}, got ${row}.`);
      const tuned = "steps" in stored;
      if (tuned && !this.bases.has(stored.base)) this.bases.set(stored.base, halves(bases[stored.base]));
      const numbers = tuned ? new Int8Array(bytesOf(stored.values).buffer) : halves(stored.values);
      const steps = tuned && singles(stored.steps);
      const base = tuned && this.bases.get(stored.base);
      const weights = {};
      let first = 0;
      tensors.forEach(([name, size], t) => {
        const fixed = tuned && t >= steps.length; // the components, which all classes of a start share
        const part = Float32Array.from((fixed ? base : numbers).subarray(first, first + size));
        if (tuned && !fixed) for (let i = 0; i < size; i++) part[i] = part[i] * steps[t] + base[first + i];
        weights[name] = part;
        first += size;
      });
      return weights;
    }

    // Pixels as a canvas shows them, four bytes each: grey is repeated, the last of two or four channels is the
    // opacity, and other numbers of channels than three are averaged. As `match_channels` of images/tensors.py does.
    rgba(pixels) {
      const [channels, height, width] = this.shape;
      const area = height * width;
      const opaque = channels !== 2 && channels !== 4;
      const colours = opaque ? channels : channels - 1;
      const bytes = new Uint8ClampedArray(4 * area); // which rounds
      for (let i = 0; i < area; i++) {
        let mean = 0;
        for (let c = 0; c < colours; c++) mean += pixels[c * area + i] / colours;
        for (let c = 0; c < 3; c++) bytes[4 * i + c] = 255 * (colours === 3 ? pixels[c * area + i] : mean);
        bytes[4 * i + 3] = opaque ? 255 : 255 * pixels[colours * area + i];
      }
      return bytes;
    }

    // Draw pixels [C * H * W] in [0, 1] into a canvas, which gets the image's size.
    paint(pixels, canvas) {
      const [, height, width] = this.shape;
      if (canvas.width !== width) canvas.width = width;
      if (canvas.height !== height) canvas.height = height;
      canvas.getContext("2d").putImageData(new ImageData(this.rgba(pixels), width, height), 0, 0);
    }
  };
})();
