"""Ollama's own client against the stand-in."""

import sys

import ollama

client = ollama.Client(host=sys.argv[1])

assert "mxbai-embed-large:latest" in [model.model for model in client.list().models]
embedded = client.embed(model="mxbai-embed-large", input=["one", "two"]).embeddings
assert [len(vector) for vector in embedded] == [1024, 1024]
assert list(client.embeddings(model="mxbai-embed-large", prompt="one").embedding) == list(embedded[0])

prompt = "Probes decide when a breaker closes.\n\nWhat do probes decide?"
parts = list(client.generate(model="llama3.2:3b", prompt=prompt, stream=True))
assert len(parts) > 5 and parts[-1].done and parts[-1].done_reason == "stop"
whole = client.generate(model="llama3.2:3b", prompt=prompt)
assert "".join(part.response for part in parts) == whole.response == "Probes decide when a breaker closes."
said = client.chat(model="llama3.2:3b", messages=[{"role": "user", "content": prompt}])
assert said.message.content == whole.response
try:
    client.embed(model="nope", input="x")
    raise SystemExit("a model that is not there has embedded")
except ollama.ResponseError as error:
    assert error.status_code == 404, error
