BEGIN TRANSACTION;
CREATE TABLE axis (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE chunk (
  id INTEGER PRIMARY KEY, series INTEGER NOT NULL,
  start INTEGER NOT NULL,        -- place of its first point in the series
  rows INTEGER NOT NULL, segment INTEGER, non_finite INTEGER NOT NULL,
  least REAL, most REAL, total REAL, first REAL, last REAL,
  first_time_s REAL, last_time_s REAL, first_step INTEGER, last_step INTEGER,  -- least and greatest
  end_step INTEGER,              -- of the last point to arrive
 axis INTEGER NOT NULL, data BLOB NOT NULL,
  units INTEGER NOT NULL DEFAULT 0);
CREATE TABLE frame (id INTEGER PRIMARY KEY, name TEXT NOT NULL, file TEXT NOT NULL, line INTEGER NOT NULL);
INSERT INTO "frame" VALUES(6735857336817936575,'main','train.py',1);
INSERT INTO "frame" VALUES(8797395314172012023,'load','data.py',88);
CREATE TABLE head (seq INTEGER PRIMARY KEY, time_s REAL NOT NULL, data BLOB NOT NULL);
INSERT INTO "head" VALUES(3,1.79575569464367365e+09,X'011CD4916B28B52FFD60B0003504006244101CA0291D1B51000315AF825155ADBE8D88DAE39F3F2286BF7C6B259FA465FEBF4E4990A3DDDFA1B2CF310B8FD98712E4FA178D18848001EC7F5534F52DCDC6EB152100200BC807320359AC24064DC08A04A6B815042972B91B205F30106406B2807CC1409019C802640799812C201FC80C6401F940662065A581A15C02188381078005');
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('seq',3);
CREATE TABLE pack (id INTEGER PRIMARY KEY AUTOINCREMENT, stream INTEGER NOT NULL, rows INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE page (
  id INTEGER PRIMARY KEY, series INTEGER NOT NULL,
  start INTEGER NOT NULL,        -- place of its first point in the series
  rows INTEGER NOT NULL, segment INTEGER, non_finite INTEGER NOT NULL,
  least REAL, most REAL, total REAL, first REAL, last REAL,
  first_time_s REAL, last_time_s REAL, first_step INTEGER, last_step INTEGER,  -- least and greatest
  end_step INTEGER,              -- of the last point to arrive
 coarse_units INTEGER NOT NULL, fine_units INTEGER NOT NULL, coarse BLOB NOT NULL, fine BLOB NOT NULL);
CREATE TABLE profile (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, rank INTEGER NOT NULL, pid INTEGER NOT NULL, role TEXT NOT NULL, host TEXT NOT NULL,
  sampler TEXT NOT NULL, hz REAL NOT NULL, start_s REAL NOT NULL, end_s REAL NOT NULL, samples INTEGER NOT NULL,
  errors INTEGER NOT NULL, threads TEXT NOT NULL, spans INTEGER NOT NULL, data BLOB NOT NULL,
  thinned INTEGER NOT NULL DEFAULT 0);
INSERT INTO "profile" VALUES(1,'a',0,7,'main','box','native',1.0,1764000000.0,1764000001.0,1,0,'{"7":"MainThread"}',1,X'0195997B9428B52FFD2091250200740209000000000140624159440600C0BDF0FF07000120A1075FE6937BC0E68E3CE8030000000000000C0080E0A190008E017DC00AC0002CC06D04147081CC2483A01401',0);
CREATE TABLE series (
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, name TEXT NOT NULL,
  born INTEGER NOT NULL,         -- order of appearance
  points INTEGER NOT NULL DEFAULT 0,   -- in packs and chunks
  sealed INTEGER NOT NULL DEFAULT 0,   -- in chunks
  paged INTEGER NOT NULL DEFAULT 0,    -- in pages
  first_time_s REAL, last_time_s REAL, first_step INTEGER, last_step INTEGER,
  newest_time_s REAL, newest_step INTEGER, newest_value REAL,
  -- of the finite values in packs and chunks; in machine files from before version 5 only of what came since
  least REAL, least_step INTEGER, most REAL, most_step INTEGER);
INSERT INTO "series" VALUES(4319407116985769779,2685944601855530972,'gpu/util',196608,0,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE stack (id INTEGER PRIMARY KEY, frames BLOB NOT NULL);
INSERT INTO "stack" VALUES(4363678803349988959,X'01BFE8BD4A8F927A5DF7A5E8796DA0167A');
CREATE TABLE stream (id INTEGER PRIMARY KEY, run TEXT, labels TEXT NOT NULL, packed_seq INTEGER NOT NULL);
INSERT INTO "stream" VALUES(2685944601855530972,NULL,'[["gpu","0"],["host","box"],["uuid","GPU-1"]]',2);
CREATE INDEX stream_run ON stream (run);
CREATE INDEX series_stream ON series (stream);
CREATE INDEX pack_stream ON pack (stream);
CREATE INDEX chunk_place ON chunk (series, start, first_time_s, last_time_s, first_step, last_step);
CREATE INDEX page_place ON page (series, start, first_time_s, last_time_s, first_step, last_step);
CREATE INDEX profile_run ON profile (run, end_s, start_s);
DELETE FROM "sqlite_sequence";
COMMIT;
PRAGMA user_version = 9;
