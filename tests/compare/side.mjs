// Runs one side of one figure once, in a process of its own, so that no side pays for what another left behind:
// `node side.mjs FIGURE SIDE`, with the context in COMPARE_CONTEXT. The result goes to the parent.

const [figure, side] = process.argv.slice(2);
const context = JSON.parse(process.env.COMPARE_CONTEXT);
try {
  const { sides } = await import(`./figures/${figure}.mjs`);
  process.send({ result: await sides[side](context) }, () => process.exit(0));
} catch (error) {
  process.send({ error: error.stack ?? String(error) }, () => process.exit(1));
}
