// The table of the npm package credit-card-type (MIT), one type a line.
const { types, getTypeInfo } = require("credit-card-type");
const all = Object.values(types).map(getTypeInfo);
const rows = all.map(({ type, patterns, lengths, code }) =>
  JSON.stringify({ type, patterns, lengths, code: code.size }));
process.stdout.write(`[\n${rows.join(",\n")}\n]\n`);
