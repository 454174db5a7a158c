// The smallest handlers: an answer, and a reply to a frame by a POST to @connections over a connection that is kept alive.

const http = require("node:http");

const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

exports.hello = async () => ({ statusCode: 200, headers: { "content-type": "application/json" }, body: '{"ok":true}' });

exports.opened = async () => ({ statusCode: 200 });

exports.echo = async ({ body, requestContext }) => {
  await new Promise((resolve, reject) => {
    const options = {
      agent,
      host: "127.0.0.1",
      port: Number(process.env.SOCKET_PORT),
      method: "POST",
      path: `/@connections/${encodeURIComponent(requestContext.connectionId)}`,
      headers: { "content-length": Buffer.byteLength(body) },
    };
    const request = http.request(options, (response) => {
      response.resume();
      response.on("end", () => (response.statusCode < 300 ? resolve() : reject(new Error(`${response.statusCode}`))));
    });
    request.on("error", reject);
    request.end(body);
  });
  return { statusCode: 200 };
};
