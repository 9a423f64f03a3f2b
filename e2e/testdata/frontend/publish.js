export async function publish(topic, chunks) {
  async function* lines() {
    for await (const chunk of chunks) yield JSON.stringify(chunk) + '\n';
  }
  const response = await fetch(`https://events.example/event/${topic}?join=lines&end`, {
    method: 'POST',
    headers: { 'Authorization': `Bearer ${process.env.FRESHET_PUBLISH_TOKEN}`, 'Content-Type': 'application/x-ndjson' },
    body: ReadableStream.from(lines()).pipeThrough(new TextEncoderStream()),
    duplex: 'half',
  });
  const { error } = JSON.parse((await response.text()).trim().split('\n').at(-1));
  if (error) throw new Error(error.message);
}
