BEGIN TRANSACTION;
CREATE TABLE zerog_documents (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    cas INTEGER NOT NULL,
    body TEXT NOT NULL,
    changes TEXT,
    lists TEXT NOT NULL,
    status, epoch, seq, owner, due, queueState, queuedAt, queueJobId, notBefore, updatedAt, startedAt, finishedAt, attempts, crashes, lost, continues, errorCount, completeness, tickcount, resultCode, running, cancelRequested, jobType, queueName
);
INSERT INTO "zerog_documents" VALUES(1,'zerog_job_01a22e58-254d-7733-a75a-568d9843fdce',7251097282703078,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:18.381391+00:00","uuid":"01a22e58-254d-7733-a75a-568d9843fdce","logId":"9843fdce","queueKwargs":{},"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"sender":"ends","weight":1.5,"leg":0,"stops":[]}','{"leg":1,"stops":["Köln"],"output":{"sender":"ends","leg":1}}','events errors warnings','succeeded',2,3,X'6E756C6C',X'6E756C6C','none','2026-11-30T21:24:18.492923+00:00',4,X'6E756C6C','2026-11-30T21:24:18.597017+00:00','2026-11-30T21:24:18.550514+00:00','2026-11-30T21:24:18.597017+00:00',2,0,0,1,0,1.0,0.0,200,X'66616C7365',X'6E756C6C','parcel','default');
INSERT INTO "zerog_documents" VALUES(2,'zerog_job_01a22e58-2550-7b55-85b4-3c98e8361a35',68898590046857606,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:18.384660+00:00","uuid":"01a22e58-2550-7b55-85b4-3c98e8361a35","logId":"e8361a35","queueKwargs":{},"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"sender":"fails","weight":1.5,"leg":0,"stops":[]}','{"lastError":{"timestamp":"2026-11-30T21:24:18.549414+00:00","errorCode":500,"type":"ValueError","msg":"ValueError: no address"}}','events errors warnings','failed',1,3,X'6E756C6C',X'6E756C6C','none','2026-11-30T21:24:18.384832+00:00',2,X'6E756C6C','2026-11-30T21:24:18.549952+00:00','2026-11-30T21:24:18.493641+00:00','2026-11-30T21:24:18.549952+00:00',1,0,0,0,1,0.5,0.0,500,X'66616C7365',X'6E756C6C','parcel','default');
INSERT INTO "zerog_documents" VALUES(3,'zerog_job_01a22e58-2552-7358-9b7f-f16cd19826df',55093758845995966,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:18.386178+00:00","uuid":"01a22e58-2552-7358-9b7f-f16cd19826df","logId":"d19826df","queueKwargs":{},"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"sender":"cancelled","weight":1.5,"leg":0,"stops":[]}',NULL,'events errors warnings','cancelled',0,0,X'6E756C6C',X'6E756C6C','none','2026-11-30T21:24:18.388249+00:00',3,X'6E756C6C','2026-11-30T21:24:18.408586+00:00',X'6E756C6C','2026-11-30T21:24:18.408586+00:00',0,0,0,0,0,0.0,0.0,410,X'66616C7365','2026-11-30T21:24:18.408586+00:00','parcel','default');
INSERT INTO "zerog_documents" VALUES(4,'zerog_workers',53949210842396638,'{"documentType":"zerog_workers","workers":{"alice-1934-cae74f":{"lease":30.0}}}',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "zerog_documents" VALUES(6,'zerog_sweeper',3747669845612137,'{"documentType":"zerog_sweeper","worker":"alice-1934-cae74f","beat":1}',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "zerog_documents" VALUES(7,'zerog_job_01a22e58-2702-7e65-a8c3-200696a8304a',52724181241888869,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:18.818845+00:00","uuid":"01a22e58-2702-7e65-a8c3-200696a8304a","logId":"96a8304a","queueKwargs":{},"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"sender":"hangs","weight":1.5,"leg":0,"stops":[]}',NULL,'events errors warnings','running',1,2,X'7B22776F726B6572223A22616C6963652D313933342D636165373466222C226E6F6E6365223A22636262616562653662663539222C226C65617365223A33302E302C226275696C64223A226231227D',X'6E756C6C','none','2026-11-30T21:24:18.819075+00:00',1,X'6E756C6C','2026-11-30T21:24:19.052562+00:00','2026-11-30T21:24:19.041346+00:00',X'6E756C6C',1,0,0,0,0,0.5,0.0,-1,X'74727565',X'6E756C6C','parcel','default');
INSERT INTO "zerog_documents" VALUES(8,'zerog_worker_alice-1934-cae74f',2612049702277733,'{"documentType":"zerog_worker","worker":"alice-1934-cae74f","host":"web1","pid":1934,"build":"b1","executor":"thread","queues":["default"],"config":{"concurrency":1,"executor":"thread","lease":30.0,"grace":25.0,"queues":["default"],"name":"alice","build_id":"b1","max_jobs":null,"max_memory":null,"connect_retries":null,"signals":["SIGTERM","SIGINT"]},"beat":1,"lease":30.0,"beatAt":null,"state":"running","jobs":0,"uuids":[],"memory":22134784,"renewedAt":"2026-11-30T21:24:18.961852+00:00"}',NULL,'',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-30T21:24:18.960688+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "zerog_documents" VALUES(9,'zerog_job_01a22e58-2803-7f05-9d2b-3e8c1f256530',38019184538153851,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:19.074876+00:00","uuid":"01a22e58-2803-7f05-9d2b-3e8c1f256530","logId":"1f256530","queueKwargs":{},"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"sender":"waits","weight":1.5,"leg":0,"stops":[]}',NULL,'events errors warnings','queued',0,0,X'6E756C6C',X'6E756C6C','queued','2026-11-30T21:24:19.106162+00:00',1,X'6E756C6C','2026-11-30T21:24:19.106162+00:00',X'6E756C6C',X'6E756C6C',0,0,0,0,0,0.0,0.0,-1,X'66616C7365',X'6E756C6C','parcel','default');
INSERT INTO "zerog_documents" VALUES(10,'zerog_job_01a22e58-2854-796e-bccd-1a03090fcf94',24267062712488742,'{"documentType":"zerog_job","schemaVersion":1.0,"format":1,"createdAt":"2026-11-30T21:24:19.156533+00:00","uuid":"01a22e58-2854-796e-bccd-1a03090fcf94","logId":"090fcf94","queueKwargs":{},"priority":0,"lastError":null,"tickval":0.001,"output":null,"headers":{},"sender":"later","weight":1.5,"leg":0,"stops":[]}',NULL,'events errors warnings','scheduled',0,0,X'6E756C6C',X'6E756C6C','queued','2026-11-30T21:24:19.156733+00:00',2,'2026-11-30T22:24:19.156733+00:00','2026-11-30T21:24:19.156733+00:00',X'6E756C6C',X'6E756C6C',0,0,0,0,0,0.0,0.0,-1,X'66616C7365',X'6E756C6C','parcel','default');
CREATE TABLE zerog_history (
    document INTEGER NOT NULL,
    field TEXT NOT NULL,
    n INTEGER NOT NULL,
    entry TEXT NOT NULL,
    PRIMARY KEY (document, field, n)
) WITHOUT ROWID;
INSERT INTO "zerog_history" VALUES(1,'events',1,'{"timestamp":"2026-11-30T21:24:18.432707+00:00","msg":"began"}');
INSERT INTO "zerog_history" VALUES(1,'events',2,'{"timestamp":"2026-11-30T21:24:18.561439+00:00","msg":"began"}');
INSERT INTO "zerog_history" VALUES(1,'warnings',1,'{"timestamp":"2026-11-30T21:24:18.492642+00:00","msg":"on its way"}');
INSERT INTO "zerog_history" VALUES(2,'errors',1,'{"timestamp":"2026-11-30T21:24:18.549414+00:00","errorCode":500,"msg":"ValueError: no address","type":"ValueError","traceback":"Traceback (most recent call last):\n  File \"/srv/app/zerog/worker/execute.py\", line 155, in _attempt\n    value = call()\n            ^^^^^^\n  File \"/srv/app/zerog/worker/execute.py\", line 103, in <lambda>\n    return conclude(job, begin(job), lambda: called(job))\n                                             ^^^^^^^^^^^\n  File \"/srv/app/zerog/worker/hooks.py\", line 27, in called\n    return _result(job, job.run())\n                        ^^^^^^^^^\n  File \"/srv/app/make.py\", line 19, in run\n    if self.sender == \"fails\": raise ValueError(\"no address\")\n                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\nValueError: no address\n","attempt":1}');
INSERT INTO "zerog_history" VALUES(2,'events',1,'{"timestamp":"2026-11-30T21:24:18.520628+00:00","msg":"began"}');
INSERT INTO "zerog_history" VALUES(7,'events',1,'{"timestamp":"2026-11-30T21:24:19.042712+00:00","msg":"began"}');
CREATE TABLE zerog_queue (
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    uuid,
    priority INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    ttr REAL NOT NULL DEFAULT 60,
    token INTEGER,
    deliveries INTEGER NOT NULL DEFAULT 0
);
INSERT INTO "zerog_queue" VALUES(1,'default','01a22e58-2803-7f05-9d2b-3e8c1f256530',0,0.0,60.0,NULL,0);
INSERT INTO "zerog_queue" VALUES(2,'default','01a22e58-2854-796e-bccd-1a03090fcf94',0,1.79607745915683293344e+09,60.0,NULL,0);
CREATE TABLE zerog_rejected (
    queue TEXT NOT NULL,
    body
);
CREATE TABLE zerog_waiters (
    address TEXT PRIMARY KEY
) WITHOUT ROWID;
CREATE INDEX zerog_by_status ON zerog_documents (status, key);
CREATE INDEX zerog_by_due ON zerog_documents (due, key) WHERE typeof(due) = 'text'
;
CREATE INDEX zerog_ready ON zerog_queue (queue, priority DESC, id) WHERE due = 0;
CREATE INDEX zerog_later ON zerog_queue (due) WHERE due > 0
;
COMMIT;