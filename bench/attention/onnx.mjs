// A model of one MultiHeadAttention node for ONNX Runtime, written as protobuf by hand (onnx.proto3: field numbers beside
// each). Knows the two kinds of the wire format that it needs: varint and length-delimited.

const text = new TextEncoder();

function varint(value) {
  const bytes = [];
  let rest = BigInt(value);
  do {
    const low = Number(rest & 127n);
    rest >>= 7n;
    bytes.push(rest > 0n ? low | 128 : low);
  } while (rest > 0n);
  return bytes;
}

/** One field: a number (varint), a string, bytes or a message (bytes). */
export function field(number, value) {
  if (typeof value === 'number') return [...varint(number << 3), ...varint(value)];
  const bytes = typeof value === 'string' ? [...text.encode(value)] : value;
  return [...varint((number << 3) | 2), ...varint(bytes.length), ...bytes];
}

const message = (...fields) => fields.flat();

const FLOAT = 1;

/** ValueInfoProto: name = 1, type = 2 { tensor_type = 1 { elem_type = 1, shape = 2 { dim = 1 { dim_value = 1 } } } } */
function tensorInfo(name, shape) {
  const dims = shape.map((n) => field(1, field(1, n)));
  const type = message(field(1, FLOAT), field(2, message(...dims)));
  return message(field(1, name), field(2, field(1, type)));
}

/** AttributeProto of an int: name = 1, i = 3, type = 20 (INT = 2) */
const integer = (name, value) => message(field(1, name), field(3, value), field(20, 2));

/**
 * query [B,Lq,H·D]; key and value [B,Lk,H·D], or [B,H,Lk,D] with `headsFirst` (how a cache of keys lies); output
 * [B,Lq,H·D].
 */
export function multiHeadAttention({ B, H, Lq, Lk, D, causal = false }, { headsFirst = false } = {}) {
  const rows = headsFirst ? [B, H, Lk, D] : [B, Lk, H * D];
  const inputs = { query: [B, Lq, H * D], key: rows, value: rows };
  // NodeProto: input = 1, output = 2, op_type = 4, attribute = 5, domain = 7
  const node = message(
    ...Object.keys(inputs).map((name) => field(1, name)),
    field(2, 'output'),
    field(4, 'MultiHeadAttention'),
    field(5, integer('num_heads', H)),
    ...(causal ? [field(5, integer('unidirectional', 1))] : []),
    field(7, 'com.microsoft'),
  );
  // GraphProto: node = 1, name = 2, input = 11, output = 12
  const graph = message(
    field(1, node),
    field(2, 'attention'),
    ...Object.entries(inputs).map(([name, shape]) => field(11, tensorInfo(name, shape))),
    field(12, tensorInfo('output', [B, Lq, H * D])),
  );
  // ModelProto: ir_version = 1, graph = 7, opset_import = 8 { domain = 1, version = 2 }
  return Uint8Array.from(
    message(
      field(1, 9),
      field(7, graph),
      field(8, message(field(1, ''), field(2, 17))),
      field(8, message(field(1, 'com.microsoft'), field(2, 1))),
    ),
  );
}
