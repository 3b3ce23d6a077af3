"""HTTP routes of the datasets."""

from fastapi import APIRouter

from tunix_rt.base.http import StrictRoute

router = APIRouter(route_class=StrictRoute)
