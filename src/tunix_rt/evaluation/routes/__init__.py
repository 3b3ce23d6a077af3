"""HTTP routes of the evaluation."""

from fastapi import APIRouter

from tunix_rt.evaluation.routes import (
    boards,
    calculations,
    contamination,
    eval_sets,
    evaluations,
    judges,
    judgings,
    runs,
)

router = APIRouter()
for part in (eval_sets, evaluations):
    router.include_router(part.router)
    router.include_router(part.uploads)
for part in (boards, calculations, contamination, judges, judgings, runs):
    router.include_router(part.router)
