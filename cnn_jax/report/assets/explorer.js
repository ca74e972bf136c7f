// Choose a layer and a unit, or an image.
const data = JSON.parse(document.getElementById('data').textContent);
const chosen = { layer: 0, unit: 0, image: 0 };
const at = id => document.getElementById(id);

function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

// Radio buttons, the first checked; draw(i) is called when button i is chosen.
function choices(id, items, draw) {
  const box = at(id);
  while (box.children.length > 1) box.lastChild.remove();
  items.forEach((item, i) => {
    const input = element('input', { type: 'radio', name: id, value: i, checked: i === 0 });
    input.addEventListener('change', () => draw(i));
    box.append(element('label', {}, input, element('span', {}, item)));
  });
  if (items.length) draw(0);
}

function figure(source, alt, caption, width) {
  const image = element('img', { src: source, alt: alt });
  if (width) image.style.width = `${width}px`;
  return element('figure', {}, image, element('figcaption', {}, caption));
}

function drawUnit() {
  const layer = data.layers[chosen.layer], unit = layer.units[chosen.unit], parts = [];
  const name = `${layer.name}, unit ${unit.unit}`, image = data.images[chosen.image];
  parts.push(element('p', {}, `${name}: ${unit.words}`));
  if (unit.kernel) parts.push(figure(unit.kernel, `Filter of ${name}`, 'filter', 110));
  if (image?.maps[layer.name]) parts.push(mapOf(image, layer, name));
  if (unit.made) parts.push(figure(unit.made, `Synthetic image that excites ${name}`, 'synthetic image', 140));
  if (unit.patches) parts.push(figure(unit.patches, `Strongest patches of ${name}`, 'strongest patches', 190));
  if (unit.projected) {
    parts.push(figure(unit.projected, `Deconvnet projections of ${name}`, 'deconvnet of these patches', 190));
  }
  if (unit.tuning) parts.push(figure(unit.tuning, `Tuning curve of ${name}`, 'orientation tuning'));
  at('unit').replaceChildren(...parts);
}

// Cuts the unit's map out of the layer's strip of stacked maps.
function mapOf(image, layer, name) {
  const canvas = element('canvas', {}), strip = new Image();
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', `Activation map of ${name} for ${image.title}`);
  canvas.style.width = '140px';
  canvas.style.imageRendering = 'pixelated';
  const unit = chosen.unit;
  strip.onload = () => {
    const height = strip.height / layer.units.length;
    canvas.width = strip.width;
    canvas.height = height;
    canvas.getContext('2d').drawImage(strip, 0, -unit * height);
  };
  strip.src = image.maps[layer.name];
  return element('figure', {}, canvas, element('figcaption', {}, 'activation map for the chosen image'));
}

function drawImage() {
  const image = data.images[chosen.image], bars = element('div', { className: 'bars' });
  for (const [name, value] of image.probabilities) {
    const bar = element('i', {}), words = value === null ? 'not a number' : `${(100 * value).toFixed(1)} %`;
    bar.style.width = `${Math.max(100 * value, 0.5)}%`;
    bars.append(element('span', {}, name), bar, element('span', {}, words));
  }
  const parts = [element('p', {}, image.title), figure(image.picture, image.title, 'the image', 140),
    element('figure', {}, bars, element('figcaption', {}, 'probabilities'))];
  if (image.votes) parts.push(element('p', {}, image.votes));
  data.methods.forEach((method, i) => {
    const shown = figure(image.attributions[i], `${method.name} for ${image.title}`, '', 140);
    const words = element('span', { className: method.good ? '' : 'fails' }, method.words);
    shown.lastChild.append(element('strong', {}, method.name), ' ', words);
    parts.push(shown);
  });
  at('image').replaceChildren(...parts);
}

choices('layers', data.layers.map(layer => layer.name), i => {
  chosen.layer = i;
  const layer = data.layers[i];
  at('units').firstChild.textContent = `Unit of ${layer.name} (${layer.facts})${layer.note}`;
  choices('units', layer.units.map(unit => String(unit.unit)), j => { chosen.unit = j; drawUnit(); });
});
choices('images', data.images.map(image => element('img', { src: image.picture, alt: image.title })), i => {
  chosen.image = i;
  drawImage();
  if (data.layers.length) drawUnit();
});
