// The forward and backward pass of a network, on one image. A program is a list of steps; value 0 is the image, value
// i + 1 the output of step i. Values are Float64Array in (height, width, channels) order.
globalThis.Compute = (() => {
  const size = shape => shape.reduce((a, b) => a * b, 1);

  function erf(x) { // Numerical Recipes in C, 6.2: relative error below 1.2e-7
    const t = 1 / (1 + Math.abs(x) / 2);
    const r = t * Math.exp(-x * x - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t *
      (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))));
    return x >= 0 ? 1 - r : r - 1;
  }
  const sigmoid = x => 1 / (1 + Math.exp(-x));
  const softplus = x => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  const clip = (x, low, high) => Math.min(Math.max(x, low), high);

  // Each activation and its derivative.
  const activations = {
    relu: [x => Math.max(x, 0), x => x > 0 ? 1 : 0],
    tanh: [Math.tanh, x => 1 - Math.tanh(x) ** 2],
    stanh: [x => 1.7159 * Math.tanh(2 * x / 3), x => 1.7159 * 2 / 3 * (1 - Math.tanh(2 * x / 3) ** 2)],
    sigmoid: [sigmoid, x => sigmoid(x) * sigmoid(-x)],
    gelu: [x => x * (1 + erf(x / Math.SQRT2)) / 2,
      x => (1 + erf(x / Math.SQRT2)) / 2 + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI)],
    silu: [x => x * sigmoid(x), x => sigmoid(x) * (1 + x * sigmoid(-x))],
    relu6: [x => clip(x, 0, 6), x => x > 0 && x < 6 ? 1 : 0],
    elu: [x => x > 0 ? x : Math.expm1(x), x => x > 0 ? 1 : Math.exp(x)],
    hardsigmoid: [x => clip(x + 3, 0, 6) / 6, x => x > -3 && x < 3 ? 1 / 6 : 0],
    hardswish: [x => x * clip(x + 3, 0, 6) / 6, x => x <= -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6],
    mish: [x => x * Math.tanh(softplus(x)), x => {
      const t = Math.tanh(softplus(x));
      return t + x * (1 - t * t) * sigmoid(x);
    }],
  };

  // Calls use(y, x, k) for every place of the output, with the place in the input below each tap of its window.
  function windows(step, [height, width], use) {
    const [rows, columns] = step.windows, [oh, ow] = step.shape;
    for (let i = 0; i < oh; i++) for (let j = 0; j < ow; j++) {
      for (let a = 0; a < rows.size; a++) {
        const y = i * rows.stride - rows.low + a * rows.dilation;
        if (y < 0 || y >= height) continue;
        for (let b = 0; b < columns.size; b++) {
          const x = j * columns.stride - columns.low + b * columns.dilation;
          if (x >= 0 && x < width) use(i * ow + j, y * width + x, a * columns.size + b);
        }
      }
    }
  }

  // Of each kind: forward(step, weights, inputs, shapes of inputs) and backward(step, weights, inputs, shapes, gradient
  // of the output, output), which returns the gradient of every input.
  const kinds = {
    conv: {
      forward(step, { kernel, bias }, [input], [shape]) {
        const filters = step.shape[2], channels = shape[2], inside = channels / step.groups;
        const each = filters / step.groups, output = new Float64Array(size(step.shape));
        if (bias) for (let i = 0; i < output.length; i++) output[i] = bias[i % bias.length];
        windows(step, shape, (at, from, tap) => {
          for (let c = 0; c < channels; c++) {
            const value = input[from * channels + c], group = Math.floor(c / inside) * each;
            if (value === 0) continue;
            const k = (tap * inside + c % inside) * filters + group, o = at * filters + group;
            for (let f = 0; f < each; f++) output[o + f] += value * kernel[k + f];
          }
        });
        return output;
      },
      backward(step, { kernel }, [input], [shape], gradient) {
        const filters = step.shape[2], channels = shape[2], inside = channels / step.groups;
        const each = filters / step.groups, found = new Float64Array(input.length);
        windows(step, shape, (at, from, tap) => {
          for (let c = 0; c < channels; c++) {
            const group = Math.floor(c / inside) * each;
            const k = (tap * inside + c % inside) * filters + group, o = at * filters + group;
            let sum = 0;
            for (let f = 0; f < each; f++) sum += gradient[o + f] * kernel[k + f];
            found[from * channels + c] += sum;
          }
        });
        return [found];
      },
    },
    max: {
      forward(step, _, [input], [shape]) {
        const output = new Float64Array(size(step.shape)).fill(-Infinity), channels = shape[2];
        windows(step, shape, (at, from) => {
          for (let c = 0; c < channels; c++) {
            output[at * channels + c] = Math.max(output[at * channels + c], input[from * channels + c]);
          }
        });
        return output;
      },
      backward(step, _, [input], [shape], gradient, output) {
        const found = new Float64Array(input.length), channels = shape[2], given = new Uint8Array(output.length);
        windows(step, shape, (at, from) => {
          for (let c = 0; c < channels; c++) {
            const o = at * channels + c;
            if (given[o] || input[from * channels + c] !== output[o]) continue; // the first of equal ones
            given[o] = 1;
            found[from * channels + c] += gradient[o];
          }
        });
        return [found];
      },
    },
    avg: {
      forward(step, _, [input], [shape]) {
        const output = new Float64Array(size(step.shape)), channels = shape[2];
        windows(step, shape, (at, from) => {
          for (let c = 0; c < channels; c++) output[at * channels + c] += input[from * channels + c] * step.share[at];
        });
        return output;
      },
      backward(step, _, [input], [shape], gradient) {
        const found = new Float64Array(input.length), channels = shape[2];
        windows(step, shape, (at, from) => {
          for (let c = 0; c < channels; c++) found[from * channels + c] += gradient[at * channels + c] * step.share[at];
        });
        return [found];
      },
    },
    dense: {
      forward(step, { kernel, bias }, [input]) {
        const output = new Float64Array(size(step.shape)), units = output.length;
        for (let i = 0; i < input.length; i++) {
          if (input[i] !== 0) for (let u = 0; u < units; u++) output[u] += input[i] * kernel[i * units + u];
        }
        return output.map((sum, u) => step.scale * (sum + (bias ? bias[u] : 0)));
      },
      backward(step, { kernel }, [input], _, gradient) {
        const units = gradient.length;
        return [input.map((_, i) => {
          let sum = 0;
          for (let u = 0; u < units; u++) sum += gradient[u] * kernel[i * units + u];
          return step.scale * sum;
        })];
      },
    },
    affine: { // a factor and an offset for each channel
      forward: (_, { factor, offset }, [input]) =>
        input.map((x, i) => x * factor[i % factor.length] + offset[i % offset.length]),
      backward: (_, { factor }, __, ___, gradient) => [gradient.map((g, i) => g * factor[i % factor.length])],
    },
    activation: {
      forward: (step, _, [input]) => input.map(activations[step.function][0]),
      backward: (step, _, [input], __, gradient) => [gradient.map((g, i) => g * activations[step.function][1](input[i]))],
    },
    leaky: { // a slope for all channels or for each
      forward: (_, { slope }, [input]) => input.map((x, i) => x > 0 ? x : x * slope[i % slope.length]),
      backward: (_, { slope }, [input], __, gradient) =>
        [gradient.map((g, i) => input[i] > 0 ? g : g * slope[i % slope.length])],
    },
    mean: { // over all places
      forward(_, __, [input], [[height, width, channels]]) {
        const output = new Float64Array(channels);
        for (let i = 0; i < input.length; i++) output[i % channels] += input[i] / (height * width);
        return output;
      },
      backward: (_, __, [input], [[height, width, channels]], gradient) =>
        [input.map((_, i) => gradient[i % channels] / (height * width))],
    },
    embed: { // every stride-th position, in a larger array: padding, and shortcuts that add channels
      places(step, [height, width, channels], use) {
        const [, columns, wide] = step.shape, { border, before, stride } = step;
        for (let i = 0; i * stride < height; i++) for (let j = 0; j * stride < width; j++) {
          for (let c = 0; c < channels; c++) {
            use(((i + border) * columns + j + border) * wide + before + c, (i * stride * width + j * stride) * channels + c);
          }
        }
      },
      forward(step, _, [input], [shape]) {
        const output = new Float64Array(size(step.shape)).fill(step.fill);
        this.places(step, shape, (to, from) => { output[to] = input[from]; });
        return output;
      },
      backward(step, _, [input], [shape], gradient) {
        const found = new Float64Array(input.length);
        this.places(step, shape, (to, from) => { found[from] = gradient[to]; });
        return [found];
      },
    },
    add: {
      forward: (_, __, [a, b]) => a.map((x, i) => x + b[i]),
      backward: (_, __, ___, ____, gradient) => [gradient, gradient],
    },
    cat: {
      forward(step, _, inputs, shapes) {
        const output = new Float64Array(size(step.shape)), all = step.shape.at(-1);
        let before = 0;
        inputs.forEach((input, n) => {
          const own = shapes[n].at(-1);
          input.forEach((x, i) => { output[Math.floor(i / own) * all + before + i % own] = x; });
          before += own;
        });
        return output;
      },
      backward(step, _, inputs, shapes, gradient) {
        const all = step.shape.at(-1);
        let before = 0;
        return inputs.map((input, n) => {
          const own = shapes[n].at(-1), start = before;
          before += own;
          return input.map((_, i) => gradient[Math.floor(i / own) * all + start + i % own]);
        });
      },
    },
  };

  const shapes = (program, step) => step.inputs.map(i => i === 0 ? program.shape : program.steps[i - 1].shape);

  // All values: the image, normalised, and the output of every step.
  function forward(program, weights, image) {
    const values = [image];
    program.steps.forEach((step, i) => {
      const inputs = step.inputs.map(at => values[at]);
      values.push(kinds[step.kind].forward(step, weights[i], inputs, shapes(program, step)));
    });
    return values;
  }

  // The gradient of output `target` of the last step with respect to the image.
  function backward(program, weights, values, target) {
    const gradients = values.map(() => null);
    gradients[values.length - 1] = values.at(-1).map((_, i) => i === target ? 1 : 0);
    for (let i = program.steps.length - 1; i >= 0; i--) {
      const step = program.steps[i], gradient = gradients[i + 1];
      if (gradient === null) continue;
      const inputs = step.inputs.map(at => values[at]);
      const found = kinds[step.kind].backward(step, weights[i], inputs, shapes(program, step), gradient, values[i + 1]);
      step.inputs.forEach((at, n) => {
        gradients[at] = gradients[at] === null ? found[n] : gradients[at].map((g, k) => g + found[n][k]);
      });
    }
    return gradients[0];
  }

  // The weights of every step, out of one array of all of them.
  function weightsOf(program, all) {
    return program.steps.map(step => {
      const own = {};
      for (const [name, [start, length]] of Object.entries(step.arrays)) own[name] = all.subarray(start, start + length);
      return own;
    });
  }

  function decode(text) { // base64 of float32
    const bytes = Uint8Array.from(atob(text), c => c.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  }

  function softmax(logits) {
    const most = Math.max(...logits), powers = Array.from(logits, x => Math.exp(x - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map(p => p / sum);
  }

  return { forward, backward, weightsOf, decode, softmax, shapes };
})();
