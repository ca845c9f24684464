"""Price sets in Postgres: what a ledger row's `price_version` stands for."""

from collections.abc import Iterable

from common.postgres import Pool, connection
from services.router.domain.catalog import Model
from services.router.store.price_list import price_rows


class Prices:
    """Price sets in Postgres. Every query on `router.prices` lives here."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, models: Iterable[Model]) -> None:
        """
        Keep the price set of *models*, all or none. A set that is there stays as it is.

        Raises:
            Unavailable, TimedOut: Postgres is silent.
        """
        rows = price_rows(models)
        if not rows:
            return
        async with connection(self._pool) as conn:
            await conn.execute(
                """
                INSERT INTO router.prices
                    (version, model, input_nano_usd, cached_input_nano_usd, output_nano_usd, source)
                SELECT version, model, input, cached_input, output, source
                FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
                            $6::text[])
                     AS taken (version, model, input, cached_input, output, source)
                ON CONFLICT (version, model) DO NOTHING
                """,
                *map(list, zip(*rows, strict=True)),
            )
