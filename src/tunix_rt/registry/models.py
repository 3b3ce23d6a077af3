"""Tables of the registry: families of models, their versions, and how the aliases moved."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from tunix_rt.base.db import Base, Json, RowNumber, Utc, new_id, now


class ModelFamily(Base):
    """A name under which models follow one another."""

    __tablename__ = "model_families"
    __table_args__ = (Index(None, "created_at", "id"),)

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=new_id)
    name: Mapped[str] = mapped_column(String(99), unique=True)
    description: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)


class ModelVersion(Base):
    """What a run made, as it was when it was promoted; it never changes. Its files lie in the store, by digest."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("family_number", "version"),
        UniqueConstraint("family_number", "digest"),
        Index(None, "family_number", "created_at", "id"),
    )

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=new_id)
    family_number: Mapped[int] = mapped_column(ForeignKey("model_families.number", ondelete="RESTRICT"))
    version: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(71))  # over the list of files; see `content.digest`
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    run_id: Mapped[uuid.UUID] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(200))  # who promoted it
    kind: Mapped[str] = mapped_column(String(16))  # model or adapter
    size: Mapped[int] = mapped_column(BigInteger)  # bytes of all files
    files: Mapped[list[dict[str, Any]]] = mapped_column(Json)  # [{path, size, sha256}], by path
    provenance: Mapped[dict[str, Any]] = mapped_column(Json)
    evaluations: Mapped[list[dict[str, Any]]] = mapped_column(Json)  # the run's at that moment, newest first


class AliasMove(Base):
    """An alias was set to a version. The newest move of an alias says where it points; the others are its history."""

    __tablename__ = "model_alias_moves"
    __table_args__ = (
        Index(None, "family_number", "alias", "number"),
        Index(None, "family_number", "created_at", "id"),
    )

    number: Mapped[int] = mapped_column(RowNumber, primary_key=True, autoincrement=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True, default=new_id)
    family_number: Mapped[int] = mapped_column(ForeignKey("model_families.number", ondelete="RESTRICT"))
    alias: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Utc, default=now)
    before: Mapped[str | None] = mapped_column(String(64))  # the version that it pointed at; null: none yet
    after_number: Mapped[int] = mapped_column(ForeignKey("model_versions.number", ondelete="RESTRICT"))
    actor: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str | None] = mapped_column(Text)
