// The band and spectrum explorer. One ES module, used twice: by anywidget in a notebook (`export default`), and on a
// page without a kernel, where `mountPage` finds state and data beside it. All drawing happens here, from 16-bit
// integers that are already in memory; `model` holds the state that Python sees.

const DASHES = ["", "7 3", "7 2 1.5 2", "1.5 2.5", "10 3 2 3 2 3"];
const MODES = { band: "Band", colour: "False colour", error: "Error" };
const CLICK = 4; // CSS pixels that a pointer may move and still click
const LENS = 15; // pixels of the image across the magnifier

// ---------------------------------------------------------------- small tools

function element(tag, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "g", "rect", "circle"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const range = (count) => Array.from({ length: count }, (_, i) => i);

// A few round numbers from low to high.
function ticks(low, high, most) {
  const raw = (high - low) / most || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
  const first = Math.ceil(low / step - 1e-6);
  return range(Math.floor(high / step + 1e-6) - first + 1).map((i) => Number(((first + i) * step).toPrecision(10)));
}

// Linear interpolation between the sorted values, as numpy.percentile.
function percentile(sorted, percent) {
  const at = ((sorted.length - 1) * percent) / 100;
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (at - below);
}

function decode(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

// Little-endian integers from bytes that need not be aligned.
function integers(view) {
  const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
  return new Uint16Array(bytes);
}

// ---------------------------------------------------------------- data

class Data {
  constructor(meta, buffers) {
    this.meta = meta;
    [this.height, this.width] = meta.size;
    [this.top, this.left] = meta.origin;
    this.bands = meta.bands;
    this.names = meta.cubes.map((cube) => cube.name);
    this.cividis = decode(meta.palette.cividis);
    this.kept = new Map();
    let next = 0;
    this.cubes = new Map();
    meta.cubes.forEach((cube, i) => {
      const order = cube.name === meta.reference || cube.ratio > 1 ? null : next++;
      this.cubes.set(cube.name, {
        ...cube,
        counts: integers(buffers[i]),
        height: this.height / cube.ratio,
        width: this.width / cube.ratio,
        colour: order === null ? `var(--hsx-${cube.ratio > 1 ? "lr" : "ink"})`
          : meta.palette.colours[order % meta.palette.colours.length],
        dash: cube.ratio > 1 ? "2 2" : order === null ? "" : DASHES[order % DASHES.length],
      });
    });
    this.anchor = meta.reference || meta.cubes.find((cube) => cube.ratio === 1).name;
    const span = meta.step * 65535;
    this.digits = clamp(3 - Math.floor(Math.log10(span || 1)), 0, 6);
  }

  value(count) { return count === this.meta.nodata ? NaN : this.meta.offset + this.meta.step * count; }
  text(value) { return Number.isFinite(value) ? value.toFixed(this.digits) : "no data"; }
  measured(counts) { return this.meta.nodata === null ? counts.slice() : counts.filter((count) => count !== this.meta.nodata); }

  plane(name, band) {
    const { counts, height, width } = this.cubes.get(name);
    return counts.subarray(band * height * width, (band + 1) * height * width);
  }

  // The value of cube `name` under a pixel of the finest cube.
  at(name, band, row, column) {
    const { ratio, width } = this.cubes.get(name);
    return this.value(this.plane(name, band)[Math.floor(row / ratio) * width + Math.floor(column / ratio)]);
  }

  // Mean and spread (standard deviation) of each band over a place [top, left, bottom, right].
  spectrum(name, [top, left, bottom, right]) {
    const { ratio, width } = this.cubes.get(name);
    const [top_, left_] = [Math.floor(top / ratio), Math.floor(left / ratio)];
    const [bottom_, right_] = [Math.ceil(bottom / ratio), Math.ceil(right / ratio)];
    const mean = new Float64Array(this.bands);
    const spread = new Float64Array(this.bands);
    for (let band = 0; band < this.bands; band++) {
      const plane = this.plane(name, band);
      let pixels = 0;
      let sum = 0;
      let squares = 0;
      for (let row = top_; row < bottom_; row++) {
        for (let column = left_; column < right_; column++) {
          const count = plane[row * width + column];
          if (count === this.meta.nodata) continue;
          pixels += 1;
          sum += count;
          squares += count * count;
        }
      }
      mean[band] = this.value(sum / pixels);
      spread[band] = this.meta.step * Math.sqrt(Math.max(squares / pixels - (sum / pixels) ** 2, 0));
    }
    return { mean, spread };
  }

  // Black and white of one band: integers of the anchor cube, so that equal greys are equal values in every view.
  limits(band, stretch) {
    return this.keep(`limits ${band} ${stretch}`, () => {
      const sorted = this.measured(this.plane(this.anchor, band)).sort();
      if (!sorted.length) return [0, 1];
      return stretch === "linear" ? [sorted[0], sorted.at(-1)] : [percentile(sorted, 2), percentile(sorted, 98)];
    });
  }

  // Absolute differences to the reference in integers, at full resolution.
  errors(name, band) {
    const truth = this.plane(this.meta.reference, band);
    const plane = this.plane(name, band);
    const { ratio, width } = this.cubes.get(name);
    const { nodata } = this.meta;
    return truth.map((count, i) => {
      const [row, column] = [Math.floor(i / this.width), i % this.width];
      const own = ratio === 1 ? plane[i] : plane[Math.floor(row / ratio) * width + Math.floor(column / ratio)];
      return count === nodata || own === nodata ? nodata : Math.abs(own - count);
    });
  }

  // The error at the end of the colour bar, for all cubes: 99.5th percentile of all errors at full resolution.
  errorLimit(band) {
    return this.keep(`errors ${band}`, () => {
      const compared = this.names.filter((name) => name !== this.meta.reference);
      const fine = compared.filter((name) => this.cubes.get(name).ratio === 1);
      const planes = (fine.length ? fine : compared).map((name) => this.measured(this.errors(name, band)));
      const all = new Uint16Array(planes.reduce((sum, plane) => sum + plane.length, 0));
      planes.forEach((plane, i) => all.set(plane, i * plane.length));
      return percentile(all.sort(), 99.5) || 1;
    });
  }

  // SAM in degrees and RMSE of one spectrum against the reference's.
  scores(spectrum, truth) {
    let [dot, own, other, squares] = [0, 0, 0, 0];
    for (let band = 0; band < this.bands; band++) {
      dot += spectrum[band] * truth[band];
      own += spectrum[band] ** 2;
      other += truth[band] ** 2;
      squares += (spectrum[band] - truth[band]) ** 2;
    }
    const cosine = clamp(dot / Math.sqrt(own * other), -1, 1);
    return { sam: (Math.acos(cosine) * 180) / Math.PI, rmse: Math.sqrt(squares / this.bands) };
  }

  axis() { return this.meta.wavelengths ?? range(this.bands).map((band) => band + 1); }
  axisLabel() { return this.meta.wavelengths ? "wavelength (nm)" : "band"; }
  bandText(band) {
    const nm = this.meta.wavelengths ? ` · ${this.meta.wavelengths[band].toFixed(0)} nm` : "";
    return `band ${band + 1} of ${this.bands}${nm}`;
  }
  shortBand(band) {
    return this.meta.wavelengths ? `${this.meta.wavelengths[band].toFixed(0)} nm` : `band ${band + 1}`;
  }

  // A place of `pixels` as [top, left, bottom, right] in the part that is shown.
  box(place) {
    const [top, left] = [place[0] - this.top, place[1] - this.left];
    return place.length === 2 ? [top, left, top + 1, left + 1] : [top, left, place[2] - this.top, place[3] - this.left];
  }
  placeText(place) {
    return place.length === 2 ? `row ${place[0]}, column ${place[1]}`
      : `rows ${place[0]}–${place[2] - 1}, columns ${place[1]}–${place[3] - 1}`;
  }

  keep(key, make) {
    if (!this.kept.has(key)) this.kept.set(key, make());
    return this.kept.get(key);
  }
}

// ---------------------------------------------------------------- pixels of a view

// Brightness 0 to 255 of an integer between two limits.
function stretcher([low, high], gamma) {
  const span = high - low || 1;
  return (count) => Math.round(255 * clamp((count - low) / span, 0, 1) ** (1 / gamma));
}

// Draw a view into a canvas of the cube's own size. What is written: the exact bytes, four per pixel.
function paint(canvas, data, name, mode, state) {
  const cube = data.cubes.get(name);
  const full = mode === "error";
  canvas.width = full ? data.width : cube.width;
  canvas.height = full ? data.height : cube.height;
  const context = canvas.getContext("2d", { willReadFrequently: true }); // small, and the magnifier reads it
  const image = context.createImageData(canvas.width, canvas.height);
  const bytes = image.data.fill(255);
  if (mode === "error") {
    const limit = data.errorLimit(state.band);
    data.errors(name, state.band).forEach((error, i) => {
      if (error === data.meta.nodata) bytes[4 * i + 3] = 0;
      const at = 3 * Math.min(Math.round((255 * error) / limit), 255);
      for (let c = 0; c < 3; c++) bytes[4 * i + c] = data.cividis[at + c];
    });
  } else {
    const bands = mode === "colour" ? state.channels : [state.band, state.band, state.band];
    bands.forEach((band, c) => {
      const bright = stretcher(data.limits(band, state.stretch), state.gamma);
      data.plane(name, band).forEach((count, i) => {
        bytes[4 * i + c] = bright(count);
        if (count === data.meta.nodata) bytes[4 * i + 3] = 0;
      });
    });
  }
  context.putImageData(image, 0, 0);
}

// ---------------------------------------------------------------- the views

// Several views in one row of stages. A stage shows one view, or two with a curtain between them.
class Views {
  constructor(explorer) {
    this.explorer = explorer;
    this.data = explorer.data;
    this.root = element("div", { class: "hsx-views" });
    this.pointers = new Map(); // pressed ones, by id
    this.drawn = null; // the box that is being drawn
  }

  // [cube, mode] of a view; errors of the reference itself would be nothing: it shows its band.
  split(view) {
    const [name, own] = view.split(":");
    const mode = own || this.explorer.state.mode;
    return [name, mode === "error" && name === this.data.meta.reference ? "band" : mode];
  }

  // Make the stages anew: the list of views, or the curtain, has changed.
  build() {
    const { views, curtain } = this.explorer.state;
    const groups = curtain && views.length > 1 ? [[0, 1], ...range(views.length - 2).map((i) => [i + 2])]
      : range(views.length).map((i) => [i]);
    this.stages = groups.map((group) => this.stage(group));
    this.root.replaceChildren(...this.stages.map((stage) => stage.frame));
    const columns = this.columns(groups.length + groups[0].length - 1);
    this.root.style.setProperty("--hsx-columns", columns);
    this.root.dataset.wide = columns > 1;
  }

  columns(count) {
    const width = this.root.clientWidth || 720;
    const most = Math.max(1, Math.floor(width / 150));
    const rows = Math.ceil(count / Math.min(most, 4));
    return Math.min(Math.ceil(count / rows), most);
  }

  stage(indexes) {
    const layers = indexes.map((index) => ({ index, canvas: element("canvas", { class: "hsx-image" }) }));
    const stage = { layers, markers: element("div", { class: "hsx-markers" }) };
    stage.node = element("div", {
      class: "hsx-stage",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "image",
      onpointerdown: (event) => this.down(event, stage),
      onpointermove: (event) => this.move(event, stage),
      onpointerup: (event) => this.up(event),
      onpointercancel: (event) => this.end(event),
      onpointerleave: () => this.explorer.hover(null),
      onwheel: (event) => this.wheel(event, stage),
      onkeydown: (event) => this.key(event),
    }, ...layers.map((layer) => layer.canvas), stage.markers);
    stage.node.style.aspectRatio = `${this.data.width} / ${this.data.height}`;
    stage.lens = element("canvas", { class: "hsx-lens", width: LENS * 8, height: LENS * 8, "aria-hidden": true });
    stage.node.append(stage.lens);
    if (layers.length === 2) {
      stage.handle = this.handle(stage);
      stage.node.append(stage.handle);
    }
    stage.captions = indexes.map((index) => this.caption(index));
    stage.frame = element("div", { class: `hsx-view${layers.length === 2 ? " hsx-double" : ""}` },
      element("div", { class: "hsx-captions" }, ...stage.captions), stage.node);
    return stage;
  }

  // What a view shows, as two menus and a button.
  caption(index) {
    const { explorer, data } = this;
    const [name, own = ""] = explorer.state.views[index].split(":");
    const change = (view) => explorer.set({ views: explorer.state.views.with(index, view) });
    const option = (value, text, chosen) => element("option", { value, selected: value === chosen }, text);
    const modes = Object.entries(MODES).filter(([mode]) => mode !== "error" || data.meta.reference);
    const cube = element("select", {
      "aria-label": `View ${index + 1}: cube`,
      class: "hsx-cube",
      onchange: () => change(cube.value + (mode.value && `:${mode.value}`)),
    }, ...data.names.map((item) => option(item, `${item}`, name)));
    const mode = element("select", {
      "aria-label": `View ${index + 1}: mode`,
      class: "hsx-mode",
      onchange: () => change(cube.value + (mode.value && `:${mode.value}`)),
    }, option("", "as above", own), ...modes.map(([value, text]) => option(value, text.toLowerCase(), own)));
    const close = element("button", {
      type: "button", class: "hsx-close", "aria-label": `Remove view ${index + 1}`, title: "Remove this view",
      onclick: () => explorer.set({ views: explorer.state.views.toSpliced(index, 1) }),
    }, "×");
    close.hidden = explorer.state.views.length < 2;
    return element("div", { class: "hsx-caption" }, cube, mode, close);
  }

  handle(stage) {
    const { explorer } = this;
    const to = (split) => explorer.set({ split: clamp(split, 0, 1) });
    const handle = element("div", {
      class: "hsx-curtain",
      role: "slider",
      tabindex: 0,
      "aria-label": "Curtain between the two views",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      onpointerdown: (event) => {
        event.stopPropagation();
        handle.setPointerCapture(event.pointerId);
      },
      onpointermove: (event) => {
        event.stopPropagation();
        if (!handle.hasPointerCapture(event.pointerId)) return;
        const { left, width } = stage.node.getBoundingClientRect();
        to((event.clientX - left) / width);
      },
      onpointerup: (event) => event.stopPropagation(),
      onkeydown: (event) => {
        const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
        if (step === undefined) return;
        event.preventDefault();
        event.stopPropagation();
        to(explorer.state.split + step);
      },
    });
    return handle;
  }

  paint() {
    const { state } = this.explorer;
    for (const stage of this.stages) {
      const shown = stage.layers.map(({ index, canvas }) => {
        const [name, mode] = this.split(state.views[index]);
        paint(canvas, this.data, name, mode, state);
        canvas.dataset.cube = name;
        canvas.dataset.mode = mode;
        return `${name}, ${mode === "colour" ? "false colour" : `${mode} at ${this.data.bandText(state.band)}`}`;
      });
      stage.node.setAttribute("aria-label", `${shown.join(" beside ")}. Arrow keys move the pixel, with Shift by ten; ` +
        "Page Up and Page Down change the band; plus, minus and 0 zoom; Enter adds a pixel, Delete removes it.");
    }
    this.magnify();
  }

  // Zoom, pan, curtain and markers: nothing of this needs a canvas to be drawn again.
  place() {
    const { data } = this;
    const { state } = this.explorer;
    const { x, y, zoom } = this.window();
    const transform = `translate(${50 - (100 * x * zoom) / data.width}%, ` +
      `${50 - (100 * y * zoom) / data.height}%) scale(${zoom})`;
    for (const stage of this.stages) {
      for (const { canvas } of stage.layers) canvas.style.transform = transform;
      stage.node.dataset.pans = this.explorer.tool === "pan" && zoom > 1;
      stage.node.dataset.tool = this.explorer.tool;
      if (stage.handle) {
        const share = `${100 * state.split}%`;
        stage.handle.style.left = share;
        stage.handle.setAttribute("aria-valuenow", Math.round(100 * state.split));
        const at = (100 * (x * zoom - data.width / 2 + state.split * data.width)) / (data.width * zoom);
        stage.layers[0].canvas.style.clipPath = `inset(0 ${100 - at}% 0 0)`;
        stage.layers[1].canvas.style.clipPath = `inset(0 0 0 ${at}%)`;
      }
      const boxes = state.pixels.map((place, i) => this.marker(data.box(place), String(i + 1)));
      if (this.drawn) boxes.push(this.marker(this.drawn, ""));
      stage.markers.replaceChildren(...boxes);
    }
    this.magnify();
  }

  marker([top, left, bottom, right], label) {
    const { x, y, zoom } = this.window();
    const [width, height] = [this.data.width / zoom, this.data.height / zoom];
    const mark = element("div", { class: `hsx-marker${label ? "" : " hsx-drawing"}` }, element("span", {}, label));
    // the number stands above and to the right, but inside the view
    mark.classList.toggle("hsx-low", top - y < -0.4 * height);
    mark.classList.toggle("hsx-before", right - x > 0.35 * width);
    mark.style.left = `${(100 * (left - x)) / width + 50}%`;
    mark.style.top = `${(100 * (top - y)) / height + 50}%`;
    mark.style.width = `${(100 * (right - left)) / width}%`;
    mark.style.height = `${(100 * (bottom - top)) / height}%`;
    return mark;
  }

  // Centre (pixels of the part that is shown) and zoom, kept so that the image fills the stage.
  window() {
    const [row, column, zoom] = this.explorer.state.view;
    const keep = (at, size) => clamp(at, size / 2 / zoom, size - size / 2 / zoom);
    return { x: keep(column - this.data.left, this.data.width), y: keep(row - this.data.top, this.data.height), zoom };
  }

  // Where in the image a pointer is: continuous, in pixels of the part that is shown.
  point(event, stage) {
    const { left, top, width, height } = stage.node.getBoundingClientRect();
    const { x, y, zoom } = this.window();
    return {
      x: x + (((event.clientX - left) / width - 0.5) * this.data.width) / zoom,
      y: y + (((event.clientY - top) / height - 0.5) * this.data.height) / zoom,
    };
  }

  pixel({ x, y }) {
    return [clamp(Math.floor(y), 0, this.data.height - 1), clamp(Math.floor(x), 0, this.data.width - 1)];
  }

  // Zoom by a factor so that the image point stays where it is on the screen.
  zoomAt(point, factor) {
    const { x, y, zoom } = this.window();
    const next = clamp(zoom * factor, 1, this.data.meta.limits.zoom);
    this.look(point.x + ((x - point.x) * zoom) / next, point.y + ((y - point.y) * zoom) / next, next);
  }

  look(x, y, zoom) {
    const keep = (at, size) => clamp(at, size / 2 / zoom, size - size / 2 / zoom);
    const [row, column] = [keep(y, this.data.height), keep(x, this.data.width)];
    this.explorer.set({ view: [row + this.data.top, column + this.data.left, zoom] });
  }

  down(event, stage) {
    if (event.button > 0 && event.pointerType === "mouse" && event.button !== 1) return;
    stage.node.setPointerCapture(event.pointerId);
    const pan = this.explorer.tool === "pan" || event.button === 1 || event.shiftKey;
    this.pointers.set(event.pointerId, { event, start: event, from: this.point(event, stage), pan, moved: false });
    if (this.pointers.size > 1) {
      this.drawn = null;
      for (const pointer of this.pointers.values()) pointer.moved = true;
    }
  }

  move(event, stage) {
    const pointer = this.pointers.get(event.pointerId);
    if (!pointer) {
      if (event.pointerType !== "touch") this.explorer.hover(this.pixel(this.point(event, stage)));
      return;
    }
    const last = pointer.event;
    const before = this.middle();
    pointer.event = event;
    pointer.moved ||= Math.hypot(event.clientX - pointer.start.clientX, event.clientY - pointer.start.clientY) > CLICK;
    if (!pointer.moved) return;
    if (this.pointers.size > 1) {
      const after = this.middle();
      this.shift(after.x - before.x, after.y - before.y, stage);
      const centre = this.point({ clientX: after.x, clientY: after.y }, stage);
      this.zoomAt(centre, after.distance / before.distance || 1);
    } else if (pointer.pan) {
      this.shift(event.clientX - last.clientX, event.clientY - last.clientY, stage);
    } else {
      this.drawn = this.boxBetween(pointer.from, this.point(event, stage));
      this.place();
    }
  }

  // Move the images by CSS pixels.
  shift(dx, dy, stage) {
    const { x, y, zoom } = this.window();
    const pixels = this.data.width / zoom / stage.node.getBoundingClientRect().width;
    this.look(x - dx * pixels, y - dy * pixels, zoom);
  }

  // The point between two pointers and their distance, in CSS pixels.
  middle() {
    const [a, b = a] = [...this.pointers.values()].map((pointer) => pointer.event);
    return {
      x: (a.clientX + b.clientX) / 2,
      y: (a.clientY + b.clientY) / 2,
      distance: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY),
    };
  }

  boxBetween(a, b) {
    const [[row, column], [row2, column2]] = [this.pixel(a), this.pixel(b)];
    return [Math.min(row, row2), Math.min(column, column2), Math.max(row, row2) + 1, Math.max(column, column2) + 1];
  }

  up(event) {
    const pointer = this.pointers.get(event.pointerId);
    const alone = this.pointers.size === 1;
    const box = this.drawn;
    this.end(event);
    if (!pointer || !alone) return;
    const { top, left } = this.data;
    if (!pointer.moved) {
      const [row, column] = this.pixel(pointer.from);
      this.explorer.add([row + top, column + left]);
    } else if (box) {
      this.explorer.add([box[0] + top, box[1] + left, box[2] + top, box[3] + left]);
    }
  }

  end(event) {
    this.pointers.delete(event.pointerId);
    this.drawn = null;
    this.place();
  }

  // Only with Ctrl (what a pinch on a touchpad sends): a plain wheel scrolls the page.
  wheel(event, stage) {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    this.zoomAt(this.point(event, stage), Math.exp(-event.deltaY / 200));
  }

  key(event) {
    const { explorer, data } = this;
    const { state } = explorer;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey ? 10 : 1;
    const moves = { ArrowUp: [-far, 0], ArrowDown: [far, 0], ArrowLeft: [0, -far], ArrowRight: [0, far] };
    const actions = {
      PageUp: () => explorer.set({ band: Math.min(state.band + 1, data.bands - 1) }),
      PageDown: () => explorer.set({ band: Math.max(state.band - 1, 0) }),
      "+": () => this.zoomKey(1.5),
      "=": () => this.zoomKey(1.5),
      "-": () => this.zoomKey(1 / 1.5),
      0: () => this.look(data.width / 2, data.height / 2, 1),
      Enter: () => state.pixels.length && explorer.add(state.pixels.at(-1)),
      Delete: () => explorer.set({ pixels: state.pixels.slice(0, -1) }),
      Backspace: () => explorer.set({ pixels: state.pixels.slice(0, -1) }),
    };
    const action = moves[event.key] ? () => this.nudge(moves[event.key]) : actions[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  // Move the last place by pixels; the window follows it.
  nudge([down, right]) {
    const { data, explorer } = this;
    const { pixels } = explorer.state;
    const box = pixels.length ? data.box(pixels.at(-1)) : [data.height >> 1, data.width >> 1, 0, 0];
    const [height, width] = pixels.length ? [box[2] - box[0], box[3] - box[1]] : [1, 1];
    const top = clamp(box[0] + down, 0, data.height - height) + data.top;
    const left = clamp(box[1] + right, 0, data.width - width) + data.left;
    const place = pixels.at(-1)?.length === 4 ? [top, left, top + height, left + width] : [top, left];
    explorer.set({ pixels: [...pixels.slice(0, -1), place] });
    const { x, y, zoom } = this.window();
    const inside = (at, centre, size) => clamp(centre, at - size / 2 / zoom + 1, at + size / 2 / zoom - 1);
    this.look(inside(left - data.left + 0.5, x, data.width), inside(top - data.top + 0.5, y, data.height), zoom);
    explorer.hover([top - data.top, left - data.left]);
  }

  zoomKey(factor) {
    const { state } = this.explorer;
    if (!state.pixels.length) return this.zoomAt(this.window(), factor);
    const [top, left, bottom, right] = this.data.box(state.pixels.at(-1));
    return this.zoomAt({ x: (left + right) / 2, y: (top + bottom) / 2 }, factor);
  }

  // The surroundings of the hovered pixel, the same in every view, in the corner that is farther from it.
  magnify() {
    const { state, hovered } = this.explorer;
    for (const { lens, layers } of this.stages) {
      lens.hidden = !state.magnifier || !hovered;
      if (lens.hidden) continue;
      const [row, column] = hovered;
      const { x, zoom } = this.window();
      const across = 0.5 + ((column + 0.5 - x) * zoom) / this.data.width; // of the stage
      lens.classList.toggle("hsx-right", across < 0.5);
      const { canvas } = layers[layers.length === 2 && across > state.split ? 1 : 0];
      const own = canvas.width / this.data.width;
      const context = lens.getContext("2d");
      const side = lens.width / LENS;
      context.imageSmoothingEnabled = false;
      context.fillStyle = "#777";
      context.fillRect(0, 0, lens.width, lens.height);
      const half = (LENS - 1) / 2;
      context.drawImage(canvas, (column - half) * own, (row - half) * own, LENS * own, LENS * own, 0, 0, lens.width, lens.height);
      context.strokeStyle = "#fff";
      context.strokeRect(half * side - 0.5, half * side - 0.5, side + 1, side + 1);
    }
  }
}

// ---------------------------------------------------------------- charts

// Axes in an SVG of CSS pixels: scales, ticks with labels, and room for what is drawn.
function axes(width, height, margin, [x0, x1], [y0, y1], xTicks, yTicks, digits) {
  const x = (value) => margin.left + ((value - x0) / (x1 - x0 || 1)) * (width - margin.left - margin.right);
  const y = (value) => height - margin.bottom - ((value - y0) / (y1 - y0 || 1)) * (height - margin.top - margin.bottom);
  const node = element("svg", { class: "hsx-chart", width, height, viewBox: `0 0 ${width} ${height}` });
  for (const value of yTicks) {
    node.append(
      element("line", { class: "hsx-grid", x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value) }),
      element("text", { x: margin.left - 5, y: y(value) + 3.5, "text-anchor": "end" }, value.toFixed(digits)),
    );
  }
  for (const value of xTicks) {
    node.append(
      element("line", { class: "hsx-grid", x1: x(value), x2: x(value), y1: margin.top, y2: height - margin.bottom }),
      element("text", { x: x(value), y: height - margin.bottom + 14, "text-anchor": "middle" }, String(value)),
    );
  }
  return { node, x, y };
}

const tickDigits = (values) => Math.max(0, ...values.map((value) => (String(value).split(".")[1] ?? "").length));
const line = (xs, ys) => ys.reduce((path, y, i) => {
  if (!Number.isFinite(y)) return path;
  return `${path}${path && Number.isFinite(ys[i - 1]) ? "L" : "M"}${xs[i].toFixed(2)} ${y.toFixed(2)}`;
}, "");

// One panel per place: curves, the band as a line, the values under the pointer, SAM and RMSE.
class Spectra {
  constructor(explorer) {
    this.explorer = explorer;
    this.data = explorer.data;
    this.legend = element("div", { class: "hsx-legend", role: "group", "aria-label": "Curves" });
    this.panels = element("div", { class: "hsx-panels" });
    this.root = element("div", { class: "hsx-spectra" }, this.legend, this.panels);
  }

  draw() {
    const { state } = this.explorer;
    this.legend.replaceChildren(...this.data.names.map((name) => this.entry(name)));
    const shown = this.data.names.filter((name) => !state.hidden.includes(name));
    const room = this.panels.clientWidth || 720;
    const columns = clamp(Math.floor(room / 280), 1, clamp(state.pixels.length, 1, 3));
    this.panels.style.setProperty("--hsx-columns", columns);
    const width = Math.floor((room - 12 * (columns - 1)) / columns);
    if (state.pixels.length) this.panels.replaceChildren(...state.pixels.map((_, i) => this.panel(i, shown, width)));
    else this.panels.replaceChildren(element("div", { class: "hsx-hint" }, "Click a pixel, or drag a box, to see its spectrum."));
  }

  entry(name) {
    const { explorer } = this;
    const { colour, dash } = this.data.cubes.get(name);
    const hidden = explorer.state.hidden.includes(name);
    const sample = element("svg", { width: 26, height: 10, "aria-hidden": true },
      element("line", { x1: 0, x2: 26, y1: 5, y2: 5, style: `stroke: ${colour}`, "stroke-dasharray": dash, "stroke-width": 2 }));
    return element("button", {
      type: "button", "aria-pressed": String(!hidden), title: hidden ? "Show this curve" : "Hide this curve",
      onclick: () => explorer.set({
        hidden: hidden ? explorer.state.hidden.filter((item) => item !== name) : [...explorer.state.hidden, name],
      }),
    }, sample, name);
  }

  panel(index, shown, width) {
    const { explorer, data } = this;
    const place = explorer.state.pixels[index];
    const box = data.box(place);
    const area = place.length === 4;
    const curves = shown.map((name) => ({ name, ...data.cubes.get(name), ...data.spectrum(name, box) }));
    const chart = this.chart(curves, area, width);
    const values = element("div", { class: "hsx-values" });
    const read = (band) => {
      const parts = curves.map(({ name, colour, mean, spread }) => {
        const text = `${name} ${data.text(mean[band])}${area ? ` ± ${data.text(spread[band])}` : ""}`;
        return element("span", {}, element("i", { style: `background: ${colour}` }), text);
      });
      values.replaceChildren(element("b", {}, data.shortBand(band)), ...parts);
      chart.cursor(band);
    };
    chart.node.addEventListener("pointermove", (event) => read(chart.band(event)));
    chart.node.addEventListener("pointerleave", () => read(explorer.state.band));
    chart.node.addEventListener("click", (event) => explorer.set({ band: chart.band(event) }));
    chart.node.setAttribute("role", "img");
    chart.node.setAttribute("aria-label", `Spectra ${index + 1}: ${data.placeText(place)}`);
    read(explorer.state.band);
    const close = element("button", {
      type: "button", class: "hsx-close", "aria-label": `Remove spectra ${index + 1}`, title: "Remove",
      onclick: () => explorer.set({ pixels: explorer.state.pixels.toSpliced(index, 1) }),
    }, "×");
    const kind = area ? "mean and spread of " : "";
    const title = element("div", { class: "hsx-title" }, element("b", {}, String(index + 1)), ` ${kind}${data.placeText(place)}`, close);
    return element("div", { class: "hsx-panel", "data-place": JSON.stringify(place) }, title, chart.node, values,
      this.table(curves, box));
  }

  chart(curves, area, width) {
    const { data, explorer } = this;
    const height = 190;
    const axis = data.axis();
    const ends = curves.flatMap(({ mean, spread }) => [...mean].flatMap((value, band) =>
      area ? [value - spread[band], value + spread[band]] : [value])).filter(Number.isFinite);
    let [low, high] = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
    const air = (high - low) * 0.05 || 0.01;
    [low, high] = [low - air, high + air];
    const yTicks = ticks(low, high, 4);
    const margin = { left: 16 + 6.2 * Math.max(...yTicks.map((v) => v.toFixed(tickDigits(yTicks)).length)), right: 10, top: 20, bottom: 34 };
    const xTicks = ticks(axis[0], axis.at(-1), clamp(Math.floor(width / 70), 2, 8));
    const { node, x, y } = axes(width, height, margin, [axis[0], axis.at(-1)], [low, high], xTicks, yTicks, tickDigits(yTicks));
    node.append(
      element("text", { x: width - margin.right, y: height - 3, "text-anchor": "end" }, data.axisLabel()),
      element("text", { x: 2, y: 11 }, data.meta.unit),
    );
    const xs = axis.map(x);
    const known = curves.filter(({ mean }) => mean.some(Number.isFinite));
    for (const { mean, spread, colour } of area ? known : []) {
      const upper = line(xs, [...mean].map((value, band) => y(value + spread[band])));
      const lower = line(xs.toReversed(), [...mean].map((value, band) => y(value - spread[band])).reverse());
      node.append(element("path", { class: "hsx-spread", d: `${upper}${lower.replace("M", "L")}Z`, style: `fill: ${colour}` }));
    }
    const now = xs[explorer.state.band];
    node.append(element("line", { class: "hsx-now", x1: now, x2: now, y1: margin.top, y2: height - margin.bottom }));
    for (const { name, mean, colour, dash } of known) {
      const d = line(xs, [...mean].map(y));
      node.append(element("path", { class: "hsx-curve", d, "data-cube": name, "stroke-dasharray": dash, style: `stroke: ${colour}` }));
    }
    const cursor = element("g", { class: "hsx-cursor" });
    node.append(cursor);
    return {
      node,
      band: (event) => nearest(xs, ((event.clientX - node.getBoundingClientRect().left) * width) / node.getBoundingClientRect().width),
      cursor: (band) => cursor.replaceChildren(...known.filter(({ mean }) => Number.isFinite(mean[band])).map(({ mean, colour }) =>
        element("circle", { cx: xs[band], cy: y(mean[band]), r: 2.5, style: `fill: ${colour}` }))),
    };
  }

  table(curves, box) {
    const { data } = this;
    const { reference } = data.meta;
    const compared = curves.filter(({ name, ratio }) => name !== reference && ratio === 1);
    if (!reference || !compared.length) return null;
    const truth = data.spectrum(reference, box).mean;
    const rows = compared.map(({ name, mean }) => {
      const { sam, rmse } = data.scores(mean, truth);
      const cells = [[sam, 3], [rmse, data.digits + 1]].map(([score, digits]) => (Number.isFinite(score) ? score.toFixed(digits) : "–"));
      return element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((text) => element("td", {}, text)));
    });
    return element("table", { class: "hsx-scores" },
      element("thead", {}, element("tr", {}, ...[`against ${reference}`, "SAM (°)", "RMSE"].map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, ...rows));
  }
}

function nearest(values, value) {
  return values.reduce((best, item, i) => (Math.abs(item - value) < Math.abs(values[best] - value) ? i : best), 0);
}

// ---------------------------------------------------------------- controls

class Controls {
  constructor(explorer) {
    this.explorer = explorer;
    this.data = explorer.data;
    const { data } = this;
    const toggle = (text, title, name) => this.button(text, title, () => explorer.set({ [name]: !explorer.state[name] }));
    const modes = Object.entries(MODES).filter(([mode]) => mode !== "error" || data.meta.reference);
    this.modes = new Map(modes.map(([mode, text]) => [mode, this.button(text, `Show ${text.toLowerCase()}`, () => explorer.set({ mode }))]));
    this.stretch = element("select", { "aria-label": "Stretch from black to white", onchange: () => explorer.set({ stretch: this.stretch.value }) },
      element("option", { value: "percentile" }, "2–98 %"), element("option", { value: "linear" }, "linear"));
    this.gamma = element("input", { type: "range", min: 0.2, max: 4, step: 0.1, "aria-label": "Gamma", oninput: () => explorer.set({ gamma: Number(this.gamma.value) }) });
    this.gammaText = element("output", {});
    this.channels = ["Red", "Green", "Blue"].map((colour, i) => {
      const input = element("input", {
        type: "range", min: 0, max: data.bands - 1, "aria-label": `${colour}: band`,
        oninput: () => explorer.set({ channels: explorer.state.channels.with(i, Number(input.value)) }),
      });
      return { input, text: element("output", {}), label: colour[0] };
    });
    const presets = Object.entries(data.meta.presets).map(([name, channels]) =>
      this.button(name, `False colour: ${name}`, () => explorer.set({ channels: [...channels] })));
    this.tools = new Map([["select", this.button("Select", "Click adds a pixel, drag adds a box", () => explorer.pick("select"))],
      ["pan", this.button("Pan", "Drag moves the images; Shift and drag does so at any time", () => explorer.pick("pan"))]]);
    this.zoomText = element("output", { class: "hsx-zoom" });
    this.curtain = toggle("Curtain", "Lay the first two views on one another", "curtain");
    this.magnifier = toggle("Magnifier", "Enlarge what is under the pointer", "magnifier");
    const { views } = explorer;
    this.colourBar = this.group("False colour", ...presets, ...this.channels.map(({ input, text, label }) =>
      element("label", { class: "hsx-channel" }, element("span", {}, label), input, text)));
    this.root = element("div", { class: "hsx-controls" },
      this.group("Show", ...this.modes.values()),
      this.group("Stretch", this.stretch, element("label", { class: "hsx-channel" }, element("span", {}, "gamma"), this.gamma, this.gammaText)),
      this.group("Pointer", ...this.tools.values()),
      this.group("Zoom", this.button("−", "Zoom out", () => views.zoomAt(views.window(), 1 / 1.5)), this.zoomText,
        this.button("+", "Zoom in", () => views.zoomAt(views.window(), 1.5)),
        this.button("Fit", "Show the whole image", () => views.look(data.width / 2, data.height / 2, 1))),
      this.group("Compare", this.curtain, this.magnifier,
        this.button("Add view", "One more view", () => explorer.set({ views: [...explorer.state.views, explorer.state.views.at(-1)] }))),
      this.colourBar);
  }

  group(label, ...children) {
    return element("div", { class: "hsx-group", role: "group", "aria-label": label }, ...children);
  }

  button(text, title, onclick) {
    return element("button", { type: "button", title, "aria-label": /^[−+]$/.test(text) ? title : undefined, onclick }, text);
  }

  draw() {
    const { explorer, data } = this;
    const { state, tool } = explorer;
    const press = (button, on) => button.setAttribute("aria-pressed", String(on));
    for (const [mode, button] of this.modes) press(button, mode === state.mode);
    for (const [name, button] of this.tools) press(button, name === tool);
    press(this.curtain, state.curtain);
    this.curtain.disabled = state.views.length < 2;
    press(this.magnifier, state.magnifier);
    this.stretch.value = state.stretch;
    this.gamma.value = state.gamma;
    this.gammaText.textContent = state.gamma.toFixed(1);
    this.zoomText.textContent = `${state.view[2].toFixed(1)}×`;
    this.colourBar.hidden = !state.views.some((view) => explorer.views.split(view)[1] === "colour");
    this.channels.forEach(({ input, text }, i) => {
      input.value = state.channels[i];
      text.textContent = data.shortBand(state.channels[i]);
      input.setAttribute("aria-valuetext", data.bandText(state.channels[i]));
    });
  }
}

// The band slider, the PSNR of each band below it, and the colour bars.
class BandStrip {
  constructor(explorer) {
    this.explorer = explorer;
    this.data = explorer.data;
    this.label = element("span", { class: "hsx-bandtext" });
    this.slider = element("input", {
      type: "range", class: "hsx-bandslider", min: 0, max: this.data.bands - 1, "aria-label": "Band",
      oninput: () => explorer.set({ band: Number(this.slider.value) }),
    });
    this.strip = element("div", { class: "hsx-strip" });
    this.bars = element("div", { class: "hsx-bars" });
    this.root = element("div", { class: "hsx-band" }, this.bars, element("label", { class: "hsx-bandlabel" }, this.label, this.slider), this.strip);
  }

  draw() {
    const { state } = this.explorer;
    this.slider.value = state.band;
    this.slider.setAttribute("aria-valuetext", this.data.bandText(state.band));
    const text = this.data.bandText(state.band);
    this.label.textContent = text[0].toUpperCase() + text.slice(1);
    this.bars.replaceChildren(...this.colourBars());
    const scored = [...this.data.cubes.values()].filter((cube) => cube.psnr && !state.hidden.includes(cube.name));
    this.strip.replaceChildren(...(scored.length ? [this.psnr(scored)] : []));
  }

  colourBars() {
    const { explorer, data } = this;
    const { state } = explorer;
    const modes = new Set(state.views.map((view) => explorer.views.split(view)[1]));
    const bar = (kind, low, high, colours, name) => element("div", { class: "hsx-bar", "data-bar": kind },
      element("span", {}, low), element("i", { style: `background: linear-gradient(to right, ${colours.join(", ")})` }),
      element("span", {}, high), element("span", { class: "hsx-unit" }, name));
    const made = [];
    if (modes.has("band")) {
      const [low, high] = data.limits(state.band, state.stretch);
      const greys = range(17).map((i) => `rgb(${Array(3).fill(Math.round(255 * (i / 16) ** (1 / state.gamma)))})`);
      made.push(bar("band", data.text(data.value(low)), data.text(data.value(high)), greys, data.meta.unit));
    }
    if (modes.has("error")) {
      const colours = range(17).map((i) => `rgb(${data.cividis.subarray(3 * Math.round((i * 255) / 16)).slice(0, 3).join()})`);
      const limit = data.meta.step * data.errorLimit(state.band);
      const digits = clamp(2 - Math.floor(Math.log10(limit)), 0, 8);
      made.push(bar("error", "0", `≥ ${limit.toFixed(digits)}`, colours, `absolute error, ${data.meta.unit}`));
    }
    return made;
  }

  // As wide as the slider, so that each band stands under its place on it.
  psnr(scored) {
    const { data, explorer } = this;
    const width = this.slider.clientWidth || 600;
    const height = 64;
    const all = scored.flatMap((cube) => cube.psnr.filter((value) => value !== null));
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const air = (high - low) * 0.08 || 1;
    const yTicks = ticks(low - air, high + air, 3);
    const margin = { left: 8, right: 8, top: 6, bottom: 6 };
    const last = data.bands - 1;
    const { node, x, y } = axes(width, height, margin, [0, last || 1], [low - air, high + air], [], [], 0);
    for (const value of yTicks) {
      node.append(element("line", { class: "hsx-grid", x1: margin.left, x2: width - margin.right, y1: y(value), y2: y(value) }));
    }
    const xs = range(data.bands).map(x);
    const now = xs[explorer.state.band];
    node.append(element("line", { class: "hsx-now", x1: now, x2: now, y1: 0, y2: height }));
    for (const { name, psnr, colour, dash } of scored) {
      node.append(element("path", { class: "hsx-curve", "data-cube": name, d: line(xs, psnr.map((v) => (v === null ? NaN : y(v)))), "stroke-dasharray": dash, style: `stroke: ${colour}` }));
    }
    for (const value of yTicks) {
      node.append(element("text", { class: "hsx-over", x: margin.left, y: clamp(y(value) - 3, 10, height - 2) }, `${value} dB`));
    }
    const scores = scored.map(({ name, psnr }) => `${name} ${psnr[explorer.state.band]?.toFixed(2) ?? "∞"} dB`).join(" · ");
    node.addEventListener("click", (event) => explorer.set({ band: nearest(xs, event.offsetX) }));
    node.setAttribute("role", "img");
    node.setAttribute("aria-label", `PSNR of each band. At ${data.bandText(explorer.state.band)}: ${scores}`);
    return element("div", {}, node, element("div", { class: "hsx-striptext" }, `PSNR of this band: ${scores}`));
  }
}

// ---------------------------------------------------------------- the whole

const NAMES = ["band", "channels", "curtain", "gamma", "hidden", "magnifier", "mode", "pixels", "split", "stretch", "view", "views"];

class Explorer {
  constructor(model, host, data) {
    this.model = model;
    this.data = data;
    this.tool = matchMedia("(pointer: coarse)").matches ? "pan" : "select";
    this.hovered = null;
    this.read();
    this.views = new Views(this);
    this.controls = new Controls(this);
    this.strip = new BandStrip(this);
    this.spectra = new Spectra(this);
    this.status = element("div", { class: "hsx-status", role: "status", "aria-live": "polite" });
    this.root = element("div", { class: "hsx", role: "region", "aria-label": "Spectral explorer", "data-lm-suppress-shortcuts": "true" },
      this.controls.root, this.views.root, this.status, this.strip.root, this.spectra.root,
      element("div", { class: "hsx-note" }, data.meta.note));
    host.replaceChildren(this.root);
    this.waiting = new Set();
    this.undo = [this.followTheme(), this.followModel(), this.followWidth()];
    this.views.build();
    this.drawAll();
  }

  read() { this.state = Object.fromEntries(NAMES.map((name) => [name, this.model.get(name)])); }

  set(changes) {
    for (const [name, value] of Object.entries(changes)) this.model.set(name, value);
    this.model.save_changes();
  }

  add(place) {
    const most = this.data.meta.limits.pixels;
    const pixels = [...this.state.pixels, place];
    this.set({ pixels: pixels.slice(-most) });
    if (pixels.length > most) this.say(`${most} places at most: the first one was removed.`);
  }

  pick(tool) {
    this.tool = tool;
    this.controls.draw();
    this.views.place();
  }

  // What the cubes hold under the pointer, in words; null: the pointer has left.
  hover(pixel) {
    this.hovered = pixel;
    this.views.magnify();
    if (!pixel) return this.say("");
    const [row, column] = pixel;
    const values = this.data.names.map((name) => `${name} ${this.data.text(this.data.at(name, this.state.band, row, column))}`);
    return this.say(`row ${row + this.data.top}, column ${column + this.data.left}, ${this.data.shortBand(this.state.band)}: ${values.join(" · ")}`);
  }

  say(text) { this.status.textContent = text; }

  drawAll() {
    this.views.paint();
    this.views.place();
    this.controls.draw();
    this.strip.draw();
    this.spectra.draw();
  }

  // What has changed is drawn once per frame, and only what depends on it.
  changed(name) {
    this.read();
    if (!this.waiting.size) requestAnimationFrame(() => this.redraw());
    this.waiting.add(name);
  }

  redraw() {
    const touched = (...names) => names.some((name) => this.waiting.has(name));
    if (touched("views", "curtain")) this.views.build();
    if (touched("views", "curtain", "band", "mode", "stretch", "gamma", "channels")) this.views.paint();
    if (touched("views", "curtain", "view", "split", "pixels")) this.views.place();
    if (touched("views", "band", "mode", "stretch", "gamma", "hidden")) this.strip.draw();
    if (touched("pixels", "hidden", "band")) this.spectra.draw();
    if (touched("band") && this.hovered) this.hover(this.hovered);
    this.controls.draw();
    this.waiting.clear();
  }

  followModel() {
    const listeners = NAMES.map((name) => [`change:${name}`, () => this.changed(name)]);
    for (const [event, listener] of listeners) this.model.on(event, listener);
    return () => listeners.forEach(([event, listener]) => this.model.off(event, listener));
  }

  // Jupyter Book's theme, JupyterLab's, else the system's.
  followTheme() {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const update = () => {
      const book = document.documentElement.dataset.theme;
      const lab = document.body.dataset.jpThemeLight;
      const dark = book ? book === "dark" : lab ? lab === "false" : system.matches;
      this.root.dataset.scheme = dark ? "dark" : "light";
    };
    const watch = new MutationObserver(update);
    watch.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    watch.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
    system.addEventListener("change", update);
    update();
    return () => {
      watch.disconnect();
      system.removeEventListener("change", update);
    };
  }

  followWidth() {
    let last = this.root.clientWidth;
    const watch = new ResizeObserver(() => {
      if (this.root.clientWidth === last) return;
      last = this.root.clientWidth;
      this.views.build();
      this.drawAll();
    });
    watch.observe(this.root);
    return () => watch.disconnect();
  }

  close() { this.undo.forEach((undo) => undo()); }
}

// ---------------------------------------------------------------- on a page without a kernel

// Stands in for the model of a widget: state, and who wants to know of changes.
class PageModel {
  constructor(state) {
    this.state = state;
    this.listeners = new Map();
  }
  get(name) { return this.state[name]; }
  set(name, value) {
    if (JSON.stringify(this.state[name]) === JSON.stringify(value)) return;
    this.state[name] = value;
    this.listeners.get(`change:${name}`)?.forEach((listener) => listener());
  }
  save_changes() {}
  on(event, listener) { this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(listener)); }
  off(event, listener) { this.listeners.get(event)?.delete(listener); }
}

function mountPage(host) {
  const { state, data } = JSON.parse(host.querySelector("script[type='application/json']").textContent);
  if (document.querySelector(`[data-live="${state._meta.id}"]`)) {
    host.remove();
    return;
  }
  const place = element("div", {});
  host.append(place);
  host.explorer = new Explorer(new PageModel(state), place, new Data(state._meta, data.map(decode)));
}

// ---------------------------------------------------------------- in a notebook

// The integers come as a message when a view asks: as a trait they would stand in the saved notebook twice.
function ask(model) {
  return new Promise((resolve) => {
    const listener = (content, buffers) => {
      if (content?.type !== "data") return;
      model.off("msg:custom", listener);
      resolve(buffers);
    };
    model.on("msg:custom", listener);
    model.send({ type: "data" });
  });
}

// Below the widget stands its page without a kernel: it is what a reader sees until the kernel has sent the data.
async function render({ model, el }) {
  const meta = model.get("_meta");
  el.classList.add("hsisr-explorer");
  const explorer = new Explorer(model, el, new Data(meta, await ask(model)));
  el.dataset.live = meta.id;
  document.querySelectorAll(`[data-explorer="${meta.id}"]`).forEach((page) => page.remove());
  return () => explorer.close();
}

export { mountPage };
export default { render };
