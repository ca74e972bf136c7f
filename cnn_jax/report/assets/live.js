// The section "Watch it compute": the image, its explanation, the stack of layers, and the window under the mouse.
globalThis.live = (() => {
  const given = JSON.parse(document.getElementById('live-data').textContent);
  const { program, mean, std, names } = given, [height, width, channels] = program.shape;
  const at = id => document.getElementById(id), GAP = 1, MOST_UNITS = 64, CHANNELS_SHOWN = 3;
  const state = { weights: null, pixels: new Float64Array(height * width * channels), values: [], place: null, target: -1 };
  const weights = given.checkpoints.map(c => Compute.weightsOf(program, Compute.decode(c.weights)));

  // Blue for negative, white for zero, red for positive.
  function colour(share) {
    const t = Math.min(Math.abs(share), 1), [r, g, b] = share < 0 ? [33, 102, 172] : [178, 24, 43];
    return [255 + (r - 255) * t, 255 + (g - 255) * t, 255 + (b - 255) * t];
  }
  const css = share => `rgb(${colour(share).map(Math.round).join(' ')})`;
  const show = x => Math.abs(x) >= 100 || (Math.abs(x) < 0.01 && x !== 0) ? x.toPrecision(2) : x.toFixed(2);

  function element(tag, properties, ...children) {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  }

  // Draws pixels(i, j) -> [r, g, b], or null for none, on a canvas, each `scale` large.
  function paint(canvas, rows, columns, scale, pixels) {
    const image = new ImageData(columns, rows);
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) {
      const found = pixels(i, j);
      if (found) image.data.set([...found, 255], 4 * (i * columns + j));
    }
    const small = new OffscreenCanvas(columns, rows);
    small.getContext('2d').putImageData(image, 0, 0);
    if (canvas.width !== columns * scale) canvas.width = columns * scale;
    if (canvas.height !== rows * scale) canvas.height = rows * scale;
    const context = canvas.getContext('2d');
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, columns * scale, rows * scale);
    context.drawImage(small, 0, 0, columns * scale, rows * scale);
    return context;
  }

  const normalised = () =>
    state.pixels.map((v, i) => (v - mean[i % mean.length]) / std[i % std.length]);
  const pixelColour = (i, j) => {
    const k = (i * width + j) * channels;
    return [0, 1, 2].map(c => 255 * state.pixels[k + (channels === 1 ? 0 : c)]);
  };

  // ---- The layers: one canvas each, its units side by side. ----
  const layers = program.steps.map((step, number) => {
    const maps = step.shape.length === 3, units = Math.min(step.shape.at(-1), maps ? MOST_UNITS : 512);
    const [rows, columns] = maps ? step.shape : [1, 1];
    const scale = maps ? Math.max(1, Math.min(6, Math.floor(84 / columns))) : 12;
    const across = Math.max(1, Math.min(units, Math.floor(900 / ((columns + GAP) * scale))));
    const canvas = element('canvas', { tabIndex: 0 });
    canvas.setAttribute('role', 'img');
    canvas.setAttribute('aria-label', `Output of ${step.name}`);
    const more = units < step.shape.at(-1) ? `, the first ${units} drawn` : '';
    const title = `${step.name}: ${step.shape.join(' × ')}${more}`;
    const box = element('details', {}, element('summary', {}, title), element('div', { className: 'scroll' }, canvas));
    const layer = { step, number, maps, units, rows, columns, scale, across, canvas, box };
    canvas.addEventListener('pointermove', event => point(layer, event));
    canvas.addEventListener('pointerdown', event => point(layer, event));
    canvas.addEventListener('keydown', event => move(layer, event));
    canvas.addEventListener('focus', () => choose(layer, 0, Math.floor(rows / 2), Math.floor(columns / 2)));
    box.addEventListener('toggle', () => { if (box.open) drawLayer(layer); });
    at('live-stack').append(box);
    return layer;
  });
  const few = layers.length <= 14;
  layers.forEach((layer, i) => { layer.box.open = few || i < 3 || i === layers.length - 1; });

  function drawLayer(layer) {
    const { rows, columns, units, across, scale } = layer, values = state.values[layer.number + 1];
    const all = layer.step.shape.at(-1), down = Math.ceil(units / across);
    let most = 1e-12;
    for (const value of values) most = Math.max(most, Math.abs(value));
    layer.context = paint(layer.canvas, down * (rows + GAP) - GAP, across * (columns + GAP) - GAP, scale, (i, j) => {
      const y = i % (rows + GAP), x = j % (columns + GAP);
      const unit = Math.floor(i / (rows + GAP)) * across + Math.floor(j / (columns + GAP));
      if (y >= rows || x >= columns || unit >= units) return null;
      return colour(values[(y * columns + x) * all + unit] / most);
    });
    layer.context.strokeStyle = '#999'; // white maps on white paper have an edge
    layer.context.lineWidth = 1;
    for (let unit = 0; unit < units; unit++) {
      const [y, x] = corner(layer, unit);
      layer.context.strokeRect(x * scale + 0.5, y * scale + 0.5, columns * scale - 1, rows * scale - 1);
    }
  }

  function corner({ rows, columns, across }, unit) {
    return [Math.floor(unit / across) * (rows + GAP), (unit % across) * (columns + GAP)];
  }

  function outline(context, ...box) { // seen on every colour
    for (const [ink, thick] of [['#fff', 4], ['#000', 2]]) {
      context.strokeStyle = ink;
      context.lineWidth = thick;
      context.strokeRect(...box);
    }
  }

  function frame(layer, unit, top, left, tall, wide) {
    if (!layer.box.open || unit >= layer.units) return;
    const { scale, context } = layer, [y0, x0] = corner(layer, unit);
    outline(context, (x0 + left) * scale, (y0 + top) * scale, wide * scale, tall * scale);
  }

  function point(layer, event) {
    const box = layer.canvas.getBoundingClientRect();
    const j = Math.floor((event.clientX - box.left) / box.width * layer.canvas.width / layer.scale);
    const i = Math.floor((event.clientY - box.top) / box.height * layer.canvas.height / layer.scale);
    const unit = Math.floor(i / (layer.rows + GAP)) * layer.across + Math.floor(j / (layer.columns + GAP));
    const y = i % (layer.rows + GAP), x = j % (layer.columns + GAP);
    if (i >= 0 && j >= 0 && y < layer.rows && x < layer.columns && unit < layer.units) choose(layer, unit, y, x);
  }

  const MOVES = { ArrowUp: [0, -1, 0], ArrowDown: [0, 1, 0], ArrowLeft: [0, 0, -1], ArrowRight: [0, 0, 1],
    PageUp: [-1, 0, 0], PageDown: [1, 0, 0] };

  function move(layer, event) {
    if (!MOVES[event.key] || !state.place) return;
    event.preventDefault();
    let [unit, y, x] = [state.place.unit, state.place.y, state.place.x].map((v, i) => v + MOVES[event.key][i]);
    if (!layer.maps) [unit, y, x] = [unit + y + x, 0, 0];
    const within = (v, n) => Math.min(Math.max(v, 0), n - 1);
    choose(layer, within(unit, layer.units), within(y, layer.rows), within(x, layer.columns));
  }

  function choose(layer, unit, y, x) {
    state.place = { layer, unit, y, x };
    drawStack();
    explainPlace();
  }

  function drawStack() {
    layers.forEach(layer => { if (layer.box.open) drawLayer(layer); });
    drawImage();
    if (!state.place) return;
    const { layer, unit, y, x } = state.place;
    frame(layer, unit, y, x, 1, 1);
    const step = layer.step;
    if (!step.windows) return;
    const [rows, columns] = step.windows, from = step.inputs[0];
    const top = y * rows.stride - rows.low, left = x * columns.stride - columns.low;
    const tall = (rows.size - 1) * rows.dilation + 1, wide = (columns.size - 1) * columns.dilation + 1;
    if (from === 0) {
      const scale = at('live-image').width / width;
      outline(at('live-image').getContext('2d'), left * scale, top * scale, wide * scale, tall * scale);
    } else {
      const source = layers[from - 1], seen = step.kind === 'conv' ? source.units : 1;
      for (let k = 0; k < seen; k++) {
        frame(source, step.kind === 'conv' ? k : unit, top, left, tall, wide);
      }
    }
  }

  // ---- The window: what is multiplied and added. ----
  function table(values, columns, most, marked = -1) {
    const body = element('tbody', {});
    for (let i = 0; i < values.length; i += columns) {
      body.append(element('tr', {}, ...values.slice(i, i + columns).map((v, j) => {
        const cell = element('td', {}, Number.isNaN(v) ? '' : v.toFixed(2));
        cell.style.background = Number.isNaN(v) ? '#ddd' : css(0.6 * v / most);
        if (i + j === marked) cell.style.fontWeight = 'bold';
        return cell;
      })));
    }
    return element('table', {}, body);
  }
  const largest = values => values.reduce((most, v) => Number.isNaN(v) ? most : Math.max(most, Math.abs(v)), 1e-12);
  const line = text => element('p', {}, text);

  // The inputs under the window of a place, NaN in the padding, with the number of each tap.
  function under(step, input, shape, y, x, channel) {
    const [rows, columns] = step.windows, found = [];
    for (let a = 0; a < rows.size; a++) for (let b = 0; b < columns.size; b++) {
      const i = y * rows.stride - rows.low + a * rows.dilation, j = x * columns.stride - columns.low + b * columns.dilation;
      const inside = i >= 0 && j >= 0 && i < shape[0] && j < shape[1];
      found.push(inside ? input[(i * shape[1] + j) * shape[2] + channel] : NaN);
    }
    return found;
  }

  const words = {
    conv({ step, arrays, inputs: [input], shapes: [shape], unit, y, x, value }) {
      const filters = step.shape[2], inside = shape[2] / step.groups, first = Math.floor(unit / (filters / step.groups));
      const parts = [];
      for (let c = 0; c < inside; c++) {
        const seen = under(step, input, shape, y, x, first * inside + c);
        const kernel = seen.map((_, tap) => arrays.kernel[(tap * inside + c) * filters + unit]);
        const products = seen.map((v, k) => Number.isNaN(v) ? NaN : v * kernel[k]);
        const sum = products.reduce((total, p) => total + (Number.isNaN(p) ? 0 : p), 0);
        parts.push({ channel: first * inside + c, seen, kernel, products, sum });
      }
      const shown = [...parts].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum)).slice(0, CHANNELS_SHOWN);
      const columns = step.windows[1].size, box = element('div', { className: 'channels' });
      for (const part of shown) {
        box.append(element('div', {}, line(`input channel ${part.channel}: values × weights = products, sum ${show(part.sum)}`),
          element('div', { className: 'product' }, table(part.seen, columns, largest(part.seen)), '×',
            table(part.kernel, columns, largest(part.kernel)), '=',
            table(part.products, columns, largest(part.products)))));
      }
      const bias = arrays.bias ? arrays.bias[arrays.bias.length === filters ? unit
        : (y * step.shape[1] + x) * filters + unit] : 0;
      const rest = inside > shown.length ? ` (the ${shown.length} largest of ${inside} are shown)` : '';
      const sum = parts.reduce((total, part) => total + part.sum, 0);
      return [line(`sum over input channels ${show(sum)}${rest} + bias ${show(bias)} = ${show(value)}`), box];
    },
    max({ step, inputs: [input], shapes: [shape], unit, y, x, value }) {
      const seen = under(step, input, shape, y, x, unit);
      return [line(`the largest of its window is ${show(value)}`),
        table(seen, step.windows[1].size, largest(seen), seen.indexOf(value))];
    },
    avg({ step, inputs: [input], shapes: [shape], unit, y, x, value }) {
      const seen = under(step, input, shape, y, x, unit);
      return [line(`the mean of its window is ${show(value)}`), table(seen, step.windows[1].size, largest(seen))];
    },
    dense({ step, arrays, inputs: [input], shapes: [shape], unit, value }) {
      const units = step.shape[0], parts = Array.from(input, (v, i) => [v * arrays.kernel[i * units + unit], v, i]);
      parts.sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]));
      const place = i => shape.length === 1 ? `${i}` : `unit ${i % shape[2]} at row ` +
        `${Math.floor(i / shape[2] / shape[1])}, column ${Math.floor(i / shape[2]) % shape[1]}`;
      const shown = parts.slice(0, 6).map(([p, v, i]) => line(`input ${place(i)}: ${show(v)} × ${show(p / (v || 1))} = ${show(p)}`));
      const rest = parts.slice(6).reduce((total, part) => total + part[0], 0);
      const bias = arrays.bias ? arrays.bias[unit] : 0;
      const scale = step.scale === 1 ? '' : `, times ${step.scale}`;
      return [...shown, line(`all other ${parts.length - shown.length} inputs: ${show(rest)}; bias ${show(bias)}${scale}; ` +
        `in all ${show(value)}`)];
    },
    affine({ arrays, inputs: [input], unit, value, index }) {
      const factor = arrays.factor[unit % arrays.factor.length], offset = arrays.offset[unit % arrays.offset.length];
      return [line(`${show(input[index])} × ${show(factor)} + ${show(offset)} = ${show(value)}`)];
    },
    activation: ({ step, inputs: [input], value, index }) =>
      [line(`${step.function}(${show(input[index])}) = ${show(value)}`)],
    leaky({ arrays, inputs: [input], unit, value, index }) {
      const slope = show(arrays.slope[unit % arrays.slope.length]);
      const product = input[index] > 0 ? ' is positive' : ` × slope ${slope}`;
      return [line(`${show(input[index])}${product}: ${show(value)}`)];
    },
    mean: ({ shapes: [shape], unit, value }) =>
      [line(`the mean of the ${shape[0]} × ${shape[1]} places of unit ${unit} is ${show(value)}`)],
    add: ({ inputs: [a, b], value, index }) =>
      [line(`${show(a[index])} from the branch + ${show(b[index])} from the shortcut = ${show(value)}`)],
    cat: ({ value }) => [line(`copied from one of the branches: ${show(value)}`)],
    embed: ({ value }) => [line(`copied, or of the border: ${show(value)}`)],
  };

  function explainPlace() {
    if (!state.place) {
      at('live-window').replaceChildren(line('Point at a place of a layer below.'));
      return;
    }
    const { layer, unit, y, x } = state.place, step = layer.step;
    const index = (y * layer.columns + x) * step.shape.at(-1) + unit, value = state.values[layer.number + 1][index];
    const arrays = state.weights[layer.number], inputs = step.inputs.map(i => state.values[i]);
    const shapes = Compute.shapes(program, step);
    const where = layer.maps ? `, row ${y}, column ${x}` : '';
    at('live-window').replaceChildren(
      element('p', {}, element('strong', {}, `${step.name}, unit ${unit}${where}: ${show(value)}`)),
      ...words[step.kind]({ step, arrays, inputs, shapes, unit, y, x, value, index }),
    );
  }

  // ---- The image, the probabilities, the explanation. ----
  const imageScale = Math.max(1, Math.floor(280 / Math.max(height, width)));
  function drawImage() { paint(at('live-image'), height, width, imageScale, pixelColour); }

  function drawBars() {
    const probabilities = Compute.softmax(state.values.at(-1));
    const order = probabilities.map((p, i) => [p, i]).sort((a, b) => b[0] - a[0]).slice(0, 10);
    at('live-bars').replaceChildren(...order.flatMap(([p, i], n) => {
      const bar = element('i', {});
      bar.style.width = `${Math.max(100 * p, 0.5)}%`;
      return [element(n ? 'span' : 'b', {}, names[i]), bar, element('span', {}, `${(100 * p).toFixed(1)} %`)];
    }));
    return order[0][1];
  }

  function drawExplanation(predicted) {
    const target = state.target < 0 ? predicted : state.target, image = state.values[0];
    const gradient = Compute.backward(program, state.weights, state.values, target);
    at('live-target').options[0].textContent = `the predicted class, ${names[predicted]}`;
    const sums = of => Array.from({ length: height * width }, (_, i) => {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += of(i * channels + c);
      return sum;
    });
    const scale = Math.max(1, Math.floor(140 / Math.max(height, width)));
    for (const [id, map] of [['live-gradient', sums(k => gradient[k])], ['live-product', sums(k => gradient[k] * image[k])]]) {
      const most = largest(map);
      paint(at(id), height, width, scale, (i, j) => colour(map[i * width + j] / most));
    }
  }

  let waiting = false;
  function update() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; compute(); });
  }

  function compute() {
    state.values = Compute.forward(program, state.weights, normalised());
    drawStack();
    explainPlace();
    drawExplanation(drawBars());
  }

  // ---- What the user does. ----
  const decodePicture = text => Float64Array.from(atob(text), c => c.charCodeAt(0) / 255);
  function choosePicture(i) {
    state.pixels = decodePicture(given.pictures[i].pixels);
    update();
  }
  given.pictures.forEach((picture, i) => {
    const input = element('input', { type: 'radio', name: 'live-pictures', checked: i === 0 });
    input.addEventListener('change', () => choosePicture(i));
    input.addEventListener('click', () => choosePicture(i)); // again, after drawing on it
    const shown = element('img', { src: picture.shown, alt: picture.title });
    at('live-pictures').append(element('label', {}, input, element('span', {}, shown)));
  });

  const ink = () => at('live-ink').querySelector('input').value.match(/[0-9a-f]{2}/g).map(part => parseInt(part, 16) / 255);
  at('live-ink').hidden = channels === 1;
  let last = null;
  function draw(event) {
    const box = at('live-image').getBoundingClientRect();
    const to = [(event.clientY - box.top) / box.height * height, (event.clientX - box.left) / box.width * width];
    const from = last || to, radius = Math.max(height, width) / 22, colours = channels === 1 ? [1] : ink();
    for (let i = 0; i < height; i++) for (let j = 0; j < width; j++) {
      const [dy, dx] = [to[0] - from[0], to[1] - from[1]], length = dy * dy + dx * dx || 1;
      const t = Math.min(Math.max(((i + 0.5 - from[0]) * dy + (j + 0.5 - from[1]) * dx) / length, 0), 1);
      const away = Math.hypot(i + 0.5 - from[0] - t * dy, j + 0.5 - from[1] - t * dx);
      const cover = Math.min(Math.max(radius + 0.5 - away, 0), 1);
      for (let c = 0; c < channels; c++) {
        const k = (i * width + j) * channels + c;
        state.pixels[k] = channels === 1 ? Math.max(state.pixels[k], cover) : (1 - cover) * state.pixels[k] + cover * colours[c];
      }
    }
    last = to;
    update();
  }
  at('live-image').addEventListener('pointerdown', event => { last = null; draw(event); });
  at('live-image').addEventListener('pointermove', event => { if (event.buttons) draw(event); });
  at('live-clear').addEventListener('click', () => { state.pixels.fill(0); update(); });

  async function open(file) {
    const bitmap = await createImageBitmap(file, { resizeWidth: width, resizeHeight: height, resizeQuality: 'high' });
    const canvas = new OffscreenCanvas(width, height), context = canvas.getContext('2d');
    context.drawImage(bitmap, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    state.pixels = state.pixels.map((_, k) => {
      const p = 4 * Math.floor(k / channels);
      const grey = (299 * data[p] + 587 * data[p + 1] + 114 * data[p + 2]) / 1000;
      return (channels === 1 ? grey : data[p + k % channels]) / 255;
    });
    update();
  }
  at('live-file').addEventListener('change', event => { if (event.target.files[0]) open(event.target.files[0]); });
  at('live').addEventListener('dragover', event => event.preventDefault());
  at('live').addEventListener('drop', event => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });

  at('live-target').append(element('option', { value: -1 }, ''), ...names.map((n, i) => element('option', { value: i }, n)));
  at('live-target').addEventListener('change', event => { state.target = Number(event.target.value); update(); });

  const time = at('live-time');
  time.max = weights.length - 1;
  at('live-training').hidden = weights.length < 2;
  function atCheckpoint(i) {
    time.value = i;
    time.nextElementSibling.textContent = given.checkpoints[i].title;
    state.weights = weights[i];
  }
  time.addEventListener('input', () => { atCheckpoint(Number(time.value)); update(); });

  atCheckpoint(weights.length - 1);
  if (given.pictures.length) state.pixels = decodePicture(given.pictures[0].pixels);
  compute();
  return { state, compute, layers, choose, atCheckpoint, choosePicture };
})();
