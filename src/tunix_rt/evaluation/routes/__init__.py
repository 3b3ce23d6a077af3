"""HTTP routes of the evaluation."""

from fastapi import APIRouter

from tunix_rt.evaluation.routes import boards, eval_sets, evaluations

router = APIRouter()
for part in (eval_sets, evaluations):
    router.include_router(part.router)
    router.include_router(part.uploads)
router.include_router(boards.router)
