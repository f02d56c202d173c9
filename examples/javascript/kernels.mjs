// Convolution and max pooling as plain loops: what is computed, and what is refused. Knows nothing of the protocol.
//
// An array is {dtype, shape, data}: data is a Float32Array or a Float64Array in C order. Images are NHWC, filters
// [kernel height, kernel width, channels / groups, filters]. Sums are made in float64 and rounded once, at the end.

const TYPES = { float32: Float32Array, float64: Float64Array };
const LARGEST = 2 ** 31 - 1;

/** What this backend does not offer, as against what nobody may ask. */
export class Unsupported extends Error {
  name = "Unsupported";
}

// ------------------------------------------------------------------------------------------------------- methods

export function conv2d([x, w, bias], options) {
  const plan = convolution(x, w, options);
  if (bias !== undefined) {
    floats("bias", bias, 1);
    sameAs("bias", bias, [w.shape[3]], x.dtype);
  }
  const sums = zeros(plan.shape);
  const { filters, depth, channelOf } = plan;
  eachTap(plan, (pixel, tap, output) => {
    for (let k = 0; k < filters; k++) {
      const first = pixel + channelOf[k];
      for (let d = 0; d < depth; d++) {
        sums[output + k] += x.data[first + d] * w.data[tap + d * filters + k];
      }
    }
  });
  if (bias !== undefined) {
    for (let i = 0; i < sums.length; i++) sums[i] += bias.data[i % filters];
  }
  return [rounded(x.dtype, plan.shape, sums)];
}

export function conv2d_vjp([x, w, dy], options) {
  const plan = convolution(x, w, options);
  floats("dy", dy, 4);
  sameAs("dy", dy, plan.shape, x.dtype);
  const [dx, dw] = [zeros(x.shape), zeros(w.shape)];
  const { filters, depth, channelOf } = plan;
  eachTap(plan, (pixel, tap, output) => {
    for (let k = 0; k < filters; k++) {
      const first = pixel + channelOf[k];
      const gradient = dy.data[output + k];
      for (let d = 0; d < depth; d++) {
        dx[first + d] += gradient * w.data[tap + d * filters + k];
        dw[tap + d * filters + k] += gradient * x.data[first + d];
      }
    }
  });
  return [rounded(x.dtype, x.shape, dx), rounded(x.dtype, w.shape, dw)];
}

export function max_pool([x], options) {
  const { shape, winner } = pooling(x, options);
  const y = new TYPES[x.dtype](winner.length);
  for (let i = 0; i < y.length; i++) y[i] = winner[i] < 0 ? -Infinity : x.data[winner[i]];
  return [{ dtype: x.dtype, shape, data: y }];
}

export function max_pool_vjp([x, dy], options) {
  const { shape, winner } = pooling(x, options);
  floats("dy", dy, 4);
  sameAs("dy", dy, shape, x.dtype);
  const dx = zeros(x.shape);
  for (let i = 0; i < winner.length; i++) {
    if (winner[i] >= 0) dx[winner[i]] += dy.data[i]; // overlapping windows add up
  }
  return [rounded(x.dtype, x.shape, dx)];
}

export function max_pool_with_argmax([x], options) {
  const { shape, winner } = pooling(x, options);
  const item = x.shape[1] * x.shape[2] * x.shape[3]; // positions are counted within an item of the batch
  const argmax = BigInt64Array.from(winner, (at) => BigInt(at < 0 ? -1 : at % item));
  return [...max_pool([x], options), { dtype: "int64", shape, data: argmax }];
}

// ------------------------------------------------------------------------------------------------------ geometry

/** One axis: there are `count` outputs, and output o, tap t read pixel o * stride + t * dilation - before. */
function lay(size, kernel, stride, dilation, padding) {
  const span = (kernel - 1) * dilation + 1;
  const axis = { size, kernel, stride, dilation };
  if (padding === "SAME" || padding === "SAME_LOWER") {
    const count = Math.ceil(size / stride);
    const total = count ? Math.max((count - 1) * stride + span - size, 0) : 0;
    const less = Math.floor(total / 2); // the odd pixel goes last, or first for SAME_LOWER
    return { ...axis, count, before: padding === "SAME" ? less : total - less };
  }
  const [before, after] = padding === "VALID" ? [0, 0] : padding;
  const count = Math.max(Math.floor((size + before + after - span) / stride) + 1, 0);
  return { ...axis, count, before };
}

/** Call `visit(pixel, tap, output)` for every tap on the image: where its channels, weights and results start. */
function eachTap({ batch, rows, columns, channels, outputs, weights }, visit) {
  for (let n = 0; n < batch; n++) {
    for (let i = 0; i < rows.count; i++) {
      for (let j = 0; j < columns.count; j++) {
        const output = ((n * rows.count + i) * columns.count + j) * outputs;
        for (let p = 0; p < rows.kernel; p++) {
          const row = i * rows.stride + p * rows.dilation - rows.before;
          if (row < 0 || row >= rows.size) continue; // a tap on padding is absent
          for (let q = 0; q < columns.kernel; q++) {
            const column = j * columns.stride + q * columns.dilation - columns.before;
            if (column < 0 || column >= columns.size) continue;
            const pixel = ((n * rows.size + row) * columns.size + column) * channels;
            visit(pixel, (p * columns.kernel + q) * weights, output);
          }
        }
      }
    }
  }
}

/** Check the arguments of a convolution, and say where its windows lie and which channels each filter reads. */
function convolution(x, w, options) {
  floats("x", x, 4);
  floats("w", w, 4);
  if (w.dtype !== x.dtype) throw new TypeError(`w has dtype ${w.dtype}, expected ${x.dtype} as x`);
  const { strides, padding, dilations, groups } = known(options, ["strides", "padding", "dilations", "groups"]);
  integer("groups", groups, groups, 1);
  const channels = x.shape[3];
  const [height, width, depth, filters] = w.shape;
  if (height < 1 || width < 1) throw new RangeError(`w has shape [${w.shape}]: a kernel without taps`);
  if (channels % groups || filters % groups) {
    throw new RangeError(`groups=${groups} does not divide the ${channels} channels of x and the ${filters} filters`);
  }
  if (depth * groups !== channels) {
    throw new RangeError(`w has shape [${w.shape}]: ${depth} channels a filter, expected ${channels / groups}`);
  }
  const plan = windows(x, [height, width], strides, padding, dilations, filters);
  const channelOf = Array.from({ length: filters }, (_, k) => Math.floor(k / (filters / groups)) * depth);
  return { ...plan, filters, depth, channelOf, weights: depth * filters };
}

/** Check the arguments of a pool, and find where in x.data the first maximum of each window is; -1 where no tap is. */
function pooling(x, options) {
  floats("x", x, 4);
  const { ksize, strides, padding, dilations } = known(options, ["ksize", "strides", "padding", "dilations"]);
  const plan = windows(x, pair("ksize", ksize), strides, padding, dilations, x.shape[3]);
  const winner = zeros(plan.shape).fill(-1);
  eachTap(plan, (pixel, _, output) => {
    for (let c = 0; c < plan.channels; c++) {
      const best = winner[output + c];
      const value = x.data[pixel + c];
      // The first NaN wins over everything, and stays; else the first of the largest.
      const wins = best < 0 || value > x.data[best] || (Number.isNaN(value) && !Number.isNaN(x.data[best]));
      if (wins) winner[output + c] = pixel + c;
    }
  });
  return { shape: plan.shape, winner };
}

function windows(x, kernel, strides, padding, dilations, outputs) {
  const [step, gap] = [pair("strides", strides), pair("dilations", dilations)];
  const sides = typeof padding === "string" ? [padding, padding] : padding;
  checkPadding(padding);
  const [batch, height, width, channels] = x.shape;
  const rows = lay(height, kernel[0], step[0], gap[0], sides[0]);
  const columns = lay(width, kernel[1], step[1], gap[1], sides[1]);
  const shape = [batch, rows.count, columns.count, outputs];
  return { batch, rows, columns, channels, outputs, weights: 0, shape };
}

// ----------------------------------------------------------------------------------------------------- arguments

function known(options, names) {
  for (const name of Object.keys(options)) {
    if (!names.includes(name)) throw new TypeError(`unknown option ${name}, expected ${names.join(", ")}`);
  }
  for (const name of names) {
    if (options[name] === undefined) throw new TypeError(`there is no option ${name}`);
  }
  return options;
}

function floats(name, array, rank) {
  if (array === undefined) throw new TypeError(`there is no array ${name}`);
  if (array.shape.length !== rank) {
    throw new RangeError(`${name} has shape [${array.shape}] of rank ${array.shape.length}, expected rank ${rank}`);
  }
  if (!(array.dtype in TYPES)) throw new Unsupported(`${name} has dtype ${array.dtype}: float32 and float64 are known`);
}

function sameAs(name, array, shape, dtype) {
  if (array.dtype !== dtype) throw new TypeError(`${name} has dtype ${array.dtype}, expected ${dtype} as x`);
  if (array.shape.some((n, axis) => n !== shape[axis])) {
    throw new RangeError(`${name} has shape [${array.shape}], expected [${shape}]`);
  }
}

function integer(name, value, whole, least) {
  const good = Number.isInteger(value) && value >= least && value <= LARGEST;
  if (!good) throw new RangeError(`${name}=${JSON.stringify(whole)}, expected integers from ${least} to ${LARGEST}`);
}

function pair(name, value) {
  if (!Array.isArray(value) || value.length !== 2) {
    throw new TypeError(`${name}=${JSON.stringify(value)}, expected a pair (h, w)`);
  }
  for (const item of value) integer(name, item, value, 1);
  return value;
}

function checkPadding(padding) {
  const isPair = (value) => Array.isArray(value) && value.length === 2;
  if (["SAME", "VALID", "SAME_LOWER"].includes(padding)) return;
  if (!isPair(padding) || !padding.every(isPair)) {
    const expected = '"SAME", "VALID", "SAME_LOWER" or ((top, bottom), (left, right))';
    throw new RangeError(`padding=${JSON.stringify(padding)}, expected ${expected}`);
  }
  for (const side of padding.flat()) integer("padding", side, padding, 0);
}

function zeros(shape) {
  return new Float64Array(shape.reduce((size, n) => size * n, 1));
}

function rounded(dtype, shape, sums) {
  return { dtype, shape, data: dtype === "float64" ? sums : Float32Array.from(sums) };
}
