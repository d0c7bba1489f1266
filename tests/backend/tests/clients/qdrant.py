"""Qdrant's own client against the stand-in: what is answered is what the client's models take."""

import sys
import uuid

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

client = QdrantClient(url=sys.argv[1], check_compatibility=False)
vectors = models.VectorParams(size=4, distance=models.Distance.COSINE)


def refused(status, what, *args, **kwargs):
    try:
        what(*args, **kwargs)
    except UnexpectedResponse as error:
        assert error.status_code == status, error
        return error.content.decode()
    raise AssertionError("it was not refused")


def ids(points):
    return [point.id for point in points]


assert not client.collection_exists("docs")
client.create_collection("docs", vectors_config=vectors, replication_factor=2)
refused(409, client.create_collection, "docs", vectors_config=vectors)
assert client.get_collection("docs").config.params.vectors.size == 4
assert [c.name for c in client.get_collections().collections] == ["docs"]

last = str(uuid.UUID(int=7))
points = [models.PointStruct(id=n, vector=[1, n, 0, 0], payload={"n": n, "even": n % 2 == 0}) for n in range(5)]
points.append(models.PointStruct(id=last, vector=[0, 0, 1, 0], payload={}))
assert client.upsert("docs", points=points, wait=True).status == models.UpdateStatus.COMPLETED
assert client.count("docs", exact=True).count == 6

found = client.query_points("docs", query=[1.0, 0.0, 0.0, 0.0], limit=2, with_payload=True).points
assert ids(found) == [0, 1] and found[1].payload["n"] == 1, found
even = models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))])
assert ids(client.query_points("docs", query=[1.0, 0, 0, 0], query_filter=even).points) == [0, 2, 4]
assert ids(client.query_points("docs", query=1, limit=1).points) == [2]

page, offset = client.scroll("docs", limit=4, with_vectors=True)
assert ids(page) == [0, 1, 2, 3] and offset == 4 and page[0].vector == [1, 0, 0, 0]
page, offset = client.scroll("docs", limit=4, offset=offset)
assert ids(page) == [4, last] and offset is None
assert ids(client.retrieve("docs", [1, 99])) == [1]

client.create_payload_index("docs", "n", models.PayloadSchemaType.INTEGER, wait=True)
assert client.get_collection("docs").payload_schema["n"].data_type == models.PayloadSchemaType.INTEGER
client.delete("docs", points_selector=[1, 2], wait=True)
assert client.count("docs").count == 4
wrong = [models.PointStruct(id=1, vector=[1, 2])]
assert "expected dim: 4, got 2" in refused(400, client.upsert, "docs", points=wrong)

named = {"text": models.VectorParams(size=2, distance=models.Distance.EUCLID)}
client.create_collection("named", vectors_config=named)
client.upsert("named", points=[models.PointStruct(id=1, vector={"text": [1, 2]})], wait=True)
assert client.scroll("named", with_vectors=True)[0][0].vector == {"text": [1, 2]}
assert client.query_points("named", query=[1.0, 2.0], using="text").points[0].score == 0

assert client.delete_collection("docs")
assert "doesn't exist" in refused(404, client.get_collection, "docs")
