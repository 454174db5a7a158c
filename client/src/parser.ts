// The event-stream format (WHATWG HTML, section 9.2).

/** Takes a stream in chunks, cut anywhere, and returns the data of the events that each chunk completes. */
export function createParser(): (chunk: Uint8Array) => string[] {
  const decoder = new TextDecoder();
  let rest = "";
  let data: string[] = [];
  let isAfterCr = false;
  return (chunk) => {
    let text = decoder.decode(chunk, { stream: true });
    if (text === "") return [];
    // A CR ends its line at once. An LF that follows in the next chunk belongs to it.
    if (isAfterCr && text.startsWith("\n")) text = text.slice(1);
    isAfterCr = text.endsWith("\r");
    const lines = (rest + text).split(/\r\n?|\n/);
    rest = lines.pop() as string;
    const events: string[] = [];
    for (const line of lines) {
      const [isData, value = ""] = /^data(?:: ?(.*))?$/s.exec(line) ?? [];
      if (isData) data.push(value);
      if (line !== "") continue;
      if (data.length > 0) events.push(data.join("\n"));
      data = [];
    }
    return events;
  };
}
