BEGIN TRANSACTION;
CREATE TABLE attempt (
    job INTEGER NOT NULL REFERENCES job, number INTEGER NOT NULL, slots TEXT NOT NULL, intended_s REAL NOT NULL,
    started_s REAL, pid INTEGER, start_ticks INTEGER, boot_id TEXT, stop_s REAL, because INTEGER, ended_s REAL, exit_code INTEGER, why TEXT,
    said TEXT NOT NULL DEFAULT '', peak_mib REAL, PRIMARY KEY (job, number));
INSERT INTO "attempt" VALUES(1,1,'["gpu-0"]',11.0,12.0,4711,99,'8c1d',NULL,NULL,NULL,NULL,NULL,'',NULL);
INSERT INTO "attempt" VALUES(2,1,'[]',21.0,NULL,100,0,'slurm',NULL,NULL,NULL,NULL,NULL,'',NULL);
INSERT INTO "attempt" VALUES(3,1,'["node1"]',21.0,25.0,101,0,'slurm',NULL,NULL,30.0,NULL,'requeued','Slurm put it back into its queue',NULL);
INSERT INTO "attempt" VALUES(4,1,'["node2"]',21.0,25.0,102,0,'slurm',NULL,NULL,40.0,0,NULL,'',NULL);
INSERT INTO "attempt" VALUES(5,1,'[]',21.0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'',NULL);
INSERT INTO "attempt" VALUES(3,2,'[]',30.0,NULL,101,1,'slurm',NULL,NULL,NULL,NULL,NULL,'',NULL);
CREATE TABLE family (name TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, family TEXT NOT NULL, slots INTEGER NOT NULL, submitted_s REAL NOT NULL,
    high INTEGER NOT NULL, shares INTEGER NOT NULL, resumes INTEGER NOT NULL, declared_mib REAL,
    argv TEXT NOT NULL, resume_argv TEXT, cwd TEXT NOT NULL, environment TEXT NOT NULL, name TEXT NOT NULL DEFAULT '',
    log_dir TEXT NOT NULL DEFAULT '', run TEXT NOT NULL DEFAULT '', place TEXT NOT NULL DEFAULT 'local', goes_on INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', queued_s REAL NOT NULL, waited_s REAL NOT NULL DEFAULT 0, ran_s REAL NOT NULL DEFAULT 0,
    out_of_memory INTEGER NOT NULL DEFAULT 0, stops INTEGER NOT NULL DEFAULT 0, needs_mib REAL, promised TEXT NOT NULL DEFAULT '[]',
    on_slots TEXT NOT NULL DEFAULT '[]', started_s REAL NOT NULL DEFAULT 0, shared_s REAL, speed REAL, steps INTEGER NOT NULL DEFAULT 0,
    stop_why TEXT, work_s REAL, ended_s REAL);
INSERT INTO "job" VALUES(1,'train',1,10.0,0,0,0,NULL,'["python", "train.py"]',NULL,'/home/ada','{"HOME": "/home/ada"}','','/home/ada/logs','train-1','local',0,'running','',10.0,1.0,0.0,0,0,NULL,'[]','["gpu-0"]',11.0,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(2,'train',1,20.0,0,0,1,NULL,'["python", "train.py"]','["python", "train.py", "--resume"]','/home/ada','{"HOME": "/home/ada"}','','/home/ada/logs','train-2','slurm',0,'queued','is handed to Slurm',20.0,0.0,0.0,0,0,NULL,'[]','[]',0.0,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(3,'train',1,20.0,0,0,1,NULL,'["python", "train.py"]','["python", "train.py", "--resume"]','/home/ada','{"HOME": "/home/ada"}','','/home/ada/logs','train-3','slurm',0,'queued','',30.0,5.0,0.0,0,1,NULL,'[]','[]',0.0,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "job" VALUES(4,'train',1,20.0,0,0,1,NULL,'["python", "train.py"]','["python", "train.py", "--resume"]','/home/ada','{"HOME": "/home/ada"}','','/home/ada/logs','train-4','slurm',0,'finished','',20.0,5.0,0.0,0,0,NULL,'[]','[]',25.0,NULL,NULL,0,NULL,10.0,40.0);
INSERT INTO "job" VALUES(5,'train',1,20.0,0,0,1,NULL,'["python", "train.py"]','["python", "train.py", "--resume"]','/home/ada','{"HOME": "/home/ada"}','','/home/ada/logs','train-5','slurm',0,'queued','is handed to Slurm',20.0,0.0,0.0,0,0,NULL,'[]','[]',0.0,NULL,NULL,0,NULL,NULL,NULL);
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "kept" VALUES('carried','{"usage": [0.0, 0.0, 11.0, 0.0, 1.0], "fifos": [{"slots": 2, "running": [[1, 10.0, 1]], "queue": [], "starts_s": [[1, 10.0]], "at_s": 10.0, "longest_s": 0.0}, {"slots": 1, "running": [], "queue": [], "starts_s": [], "at_s": 0.0, "longest_s": 0.0}], "gate": [1, 11.0]}');
INSERT INTO "kept" VALUES('order','[]');
CREATE TABLE pair (first TEXT NOT NULL, second TEXT NOT NULL, first_speed REAL NOT NULL, second_speed REAL NOT NULL, PRIMARY KEY (first, second));
CREATE INDEX job_state ON job (state);
CREATE INDEX attempt_ended ON attempt (ended_s);
CREATE UNIQUE INDEX attempt_open ON attempt (job) WHERE ended_s IS NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('job',5);
COMMIT;
PRAGMA user_version = 1;
