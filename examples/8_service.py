"""A saved model behind HTTP: label, probability, uncertainty, novelty, and when to ask a person.

    python examples/8_service.py reviews-model --port 8000
    curl -s localhost:8000/predict -H 'content-type: application/json' -d '{"texts": ["A gem of a film."]}'

Needs ``pip install 'sksve[serve]'``. Requests that come within a few milliseconds share a forward pass; no
answer depends on what shares it. A classifier that abstains (`SelectiveClassifier`) decides itself when to
ask a person; any other does so below --min-probability or above --max-novelty. GET /health says that the
process lives, /ready that the model is loaded.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

import sksve

MOST_TEXTS, MOST_CHARACTERS, MOST_BYTES = 64, 20_000, 2**20
MOST_WAITING = 256  # requests; more are told to come back
SHARED_ROWS, WAIT = 128, 0.005  # of a forward pass; seconds that the first request waits for others


def whole(text: str) -> str:
    """Refuse half of a character, which JSON can hold and no tokenizer can read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("a text must be valid Unicode") from None
    return text


class Question(BaseModel):
    """What a client sends."""

    model_config = ConfigDict(extra="forbid")
    texts: list[
        Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS), AfterValidator(whole)]
    ] = Field(min_length=1, max_length=MOST_TEXTS)


class Scorer:
    """Answers requests in the order in which they come, several in one forward pass."""

    def __init__(self, clf: Any, min_probability: float, max_novelty: float) -> None:
        self.clf, self.min_probability, self.max_novelty = clf, min_probability, max_novelty
        self.queue: asyncio.Queue[tuple[list[str], asyncio.Future[Any]]] = asyncio.Queue(
            MOST_WAITING
        )

    def score(self, texts: list[str]) -> list[dict[str, Any]]:
        """One record per text."""
        X: Any = texts
        if (names := getattr(self.clf, "feature_names_in_", None)) is not None:  # by `sksve fit`
            import pandas as pd

            X = pd.DataFrame({names[0]: texts})
        proba = self.clf.predict_proba(X)
        uncertainty = self.clf.predict_uncertainty(X)
        best = proba.max(axis=1)
        novelty = np.zeros(len(texts)) if uncertainty.novelty is None else uncertainty.novelty
        if hasattr(self.clf, "accepts"):
            ask = ~self.clf.accepts(X)
        else:
            ask = (best < self.min_probability) | (novelty > self.max_novelty)
        columns = {
            "label": self.clf.classes_[proba.argmax(axis=1)], "probability": best,
            "uncertainty": uncertainty.total, "novelty": novelty, "ask_a_person": ask,
        }  # fmt: skip
        names, rows = list(columns), zip(*(column.tolist() for column in columns.values()))
        return [dict(zip(names, row)) for row in rows]

    async def ask(self, texts: list[str]) -> list[dict[str, Any]]:
        """The records of one request, once it has been its turn."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            self.queue.put_nowait((texts, answer))
        except asyncio.QueueFull:
            raise HTTPException(503, "Too many requests wait. Try again later.") from None
        return await answer

    async def work(self) -> None:
        """Take what waits, answer it together, for ever."""
        while True:
            waiting = [await self.queue.get()]
            await asyncio.sleep(WAIT)
            while not self.queue.empty() and sum(len(t) for t, _ in waiting) < SHARED_ROWS:
                waiting.append(self.queue.get_nowait())
            texts = [text for some, _ in waiting for text in some]
            try:
                records = await asyncio.to_thread(self.score, texts)
            except Exception as error:  # of one pass: the next requests go on
                for _, answer in waiting:
                    if not answer.done():
                        answer.set_exception(HTTPException(500, f"{type(error).__name__}: {error}"))
                continue
            for some, answer in waiting:
                mine, records = records[: len(some)], records[len(some) :]
                if not answer.done():  # the client may have gone
                    answer.set_result(mine)


def make_app(clf: Any, *, min_probability: float = 0.8, max_novelty: float = 0.95) -> FastAPI:
    """The service of a fitted classifier of texts."""
    if len(getattr(clf, "feature_names_in_", [""])) != 1:
        raise ValueError("The service reads one text a row; the model was fitted on a table.")
    scorer = Scorer(clf, min_probability, max_novelty)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        worker = asyncio.create_task(scorer.work())
        yield
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker

    app = FastAPI(title="sksve", lifespan=lifespan)

    @app.middleware("http")
    async def limit_size(request: Request, call_next: Any) -> Any:
        length = request.headers.get("content-length")
        if request.method == "POST" and (length is None or not length.isdigit()):
            return JSONResponse({"detail": "content-length is missing."}, 411)
        if length is not None and int(length) > MOST_BYTES:
            return JSONResponse({"detail": f"A request may have {MOST_BYTES} bytes."}, 413)
        return await call_next(request)

    @app.exception_handler(RequestValidationError)
    async def say_what_is_wrong(_: Request, error: RequestValidationError) -> JSONResponse:
        found = [{"where": e["loc"], "what": e["msg"]} for e in error.errors()]  # not what was sent
        return JSONResponse({"detail": found}, 422)

    @app.post("/predict")
    async def predict(question: Question) -> dict[str, Any]:
        return {"answers": await scorer.ask(question.texts)}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/ready")
    async def ready() -> dict[str, Any]:
        return {
            "status": "ready",
            "classes": clf.classes_.tolist(),
            "waiting": scorer.queue.qsize(),
        }

    return app


def main() -> None:
    """Load a model and serve it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder that save_pretrained() wrote")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--min-probability", type=float, default=0.8)
    parser.add_argument("--max-novelty", type=float, default=0.95)
    args = parser.parse_args()
    limits = {"min_probability": args.min_probability, "max_novelty": args.max_novelty}
    app = make_app(sksve.load(args.model), **limits)
    uvicorn.run(app, host=args.host, port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
