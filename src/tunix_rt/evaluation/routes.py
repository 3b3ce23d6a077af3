"""HTTP routes of the evaluation."""

from fastapi import APIRouter

from tunix_rt.base.http import StrictRoute

router = APIRouter(route_class=StrictRoute)
