// The figures, each a module of the same name, in the order in which they run. The numbers are those of docs/performance.md.

export const figures = [
  { id: "chat", numbers: [6] },
  { id: "fanout", numbers: [7] },
  { id: "connections", numbers: [10] },
  { id: "invoke", numbers: [9] },
  { id: "lateness", numbers: [5] },
  { id: "queue", numbers: [1, 2, 3, 4] },
  { id: "persist", numbers: [11] },
  { id: "reading", numbers: [13] },
  { id: "online", numbers: [14] },
  { id: "cold-start", numbers: [12] },
  { id: "echo", numbers: [8] },
  { id: "cost", numbers: [15, 16] },
];
